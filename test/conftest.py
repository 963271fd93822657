"""Settings for all tests."""

import os
import signal
from collections import Counter
from pathlib import Path

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
# Nodes, browsers and servers are processes of their own: once in some thousand times a busy machine holds one up beyond
# all time-outs. What fails is tried once more, and the summary names it under RERUN.
_PROCESSES_OF_THEIR_OWN = ("ros", "servers", "web")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts."""
    return min(_MOST_WORKERS, len(os.sched_getaffinity(0)) + 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, take files from all folders alike, so that some wait while others compute; short ones come last."""
    folder_of = {item.path: item.path.relative_to(Path(__file__).parent).parts[0] for item in items}
    for item in items if config.pluginmanager.hasplugin("rerunfailures") else ():
        if folder_of[item.path] in _PROCESSES_OF_THEIR_OWN:
            item.add_marker(pytest.mark.flaky(reruns=1))
    if not hasattr(config, "workerinput"):
        return
    files_in, place_of, seen = Counter(folder_of.values()), {}, Counter()
    for path, folder in folder_of.items():
        place_of[path] = (folder == "unit", seen[folder] / files_in[folder])
        seen[folder] += 1
    items.sort(key=lambda item: place_of[item.path])
