"""Settings for all tests."""

import os
import signal

import pytest
from fuzz_profile import PATIENT
from hypothesis import settings

import vlm_perception.engines  # noqa: F401 - before anything imports torch, which reads its settings once

settings.register_profile("no_clock", PATIENT)
settings.load_profile("no_clock")

# A shell lets what it starts in the background ignore SIGINT, and so would every process that a test starts and stops.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Each test process holds torch and a model, some 2 GB; half of them wait for nodes and browsers at any time.
_MOST_WORKERS = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts."""
    return min(_MOST_WORKERS, len(os.sched_getaffinity(0)) + 1)
