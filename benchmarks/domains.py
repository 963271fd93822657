"""ROS domains that no other test or benchmark of this machine uses at the same time."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Above 101 the ports of DDS may be those that Linux hands out to anybody.
NUMBERS = range(1, 101)


@contextmanager
def claimed_domain() -> Iterator[int]:
    """Hold a domain id for this process; a lock that ends with the process keeps others from taking it.

    Raises:
        RuntimeError: All of them are in use.
    """
    numbers = list(NUMBERS)
    # Not in order: what a domain was just used for may still be on its way.
    random.Random(os.urandom(8)).shuffle(numbers)
    for number in numbers:
        with (Path(tempfile.gettempdir()) / f"vlm_perception_domain_{number}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    raise RuntimeError(f"all ROS domains from {NUMBERS.start} to {NUMBERS.stop - 1} are in use; end other test runs")
