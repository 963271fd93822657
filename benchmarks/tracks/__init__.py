"""How well late boxes are carried to the frames that come meanwhile: `python -m benchmarks.tracks`."""
