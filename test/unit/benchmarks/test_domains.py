"""Nobody gets a ROS domain that somebody else of this machine is in."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from benchmarks import domains


def test_a_domain_is_claimed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with domains.claimed_domain() as number:
        monkeypatch.setattr(domains, "NUMBERS", range(number, number + 1))
        with pytest.raises(RuntimeError, match="end other test runs"), domains.claimed_domain():
            pass


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="needs Linux's table of sockets")
def test_a_domain_that_a_foreign_process_is_in_is_left_alone() -> None:
    with domains.claimed_domain() as number, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        assert number not in domains.domains_in_use()
        participant.bind(("127.0.0.1", 7400 + 250 * number + 11))
        assert number in domains.domains_in_use()
