"""Measured claims: `python -m benchmarks.NAME` prints a table and writes `build/benchmarks/NAME.json`."""
