"""The engines: what runs the model.

OpenMP's threads, which torch uses on a CPU, wait for each other by spinning. On a robot other processes want the
cores, too: then whoever spins keeps its partner from coming on, and an answer takes many times as long. Not to spin at
all makes answers slower on an idle machine. A short spin costs little in either case (`benchmarks/busy_machine.py`).
OpenMP reads its settings once, when torch is imported, so they stand here.
"""

import os

# Whoever has set one of them knows better.
if "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ:
    os.environ["GOMP_SPINCOUNT"] = "1000"
