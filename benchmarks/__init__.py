"""Measured claims: `python -m benchmarks.NAME` prints a table and writes `build/benchmarks/NAME.json`."""

import vlm_perception.engines  # noqa: F401 - before anything imports torch, which reads its settings once
