"""The engines: what runs the model.

OpenMP's threads, which torch uses on a CPU, wait for each other by spinning. On a robot other processes want the
cores, too: then whoever spins keeps its partner from coming on, and an answer takes ten times as long
(`benchmarks/busy_machine.py`). OpenMP reads its settings once, when torch is imported, so they stand here.
"""

import os

# Whoever has set it knows better.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
