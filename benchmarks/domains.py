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
# DDS: a domain has so many ports, from this one on.
_FIRST_PORT, _PORTS = 7400, 250
_SOCKET_TABLES = ("/proc/net/udp", "/proc/net/udp6")


def domains_in_use() -> set[int]:
    """Domains of anybody on this machine, such as a demo, or a process that a test has left behind."""
    tables = [path.read_text(encoding="ascii") for path in map(Path, _SOCKET_TABLES) if path.exists()]
    addresses = [line.split()[1] for table in tables for line in table.splitlines()[1:]]
    return {(int(address.rpartition(":")[2], 16) - _FIRST_PORT) // _PORTS for address in addresses}


@contextmanager
def claimed_domain() -> Iterator[int]:
    """Hold a domain id for this process; a lock that ends with the process keeps others from taking it.

    Raises:
        RuntimeError: All of them are in use.
    """
    in_use = domains_in_use()
    numbers = [number for number in NUMBERS if number not in in_use]
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
