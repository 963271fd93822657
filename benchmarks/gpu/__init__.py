"""Everything that only a card can tell, in one run of less than 8 minutes: `python -m benchmarks.gpu`.

Each file is a group of sections; `sections.py` runs them in order of worth, each with its own time.
With `--device cpu` they all run in short, so that they stay true while no card is at hand.
"""
