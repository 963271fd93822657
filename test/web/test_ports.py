"""The page listens where it was told, on this machine alone by default, and says so when it had to choose."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from vlm_perception.apps.web.app import parser
from vlm_perception.apps.web.ports import DEFAULT_HOST, choose_port, is_loopback, page_url
from vlm_perception.startup.arguments import StartupError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind((DEFAULT_HOST, 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_taken_port_gives_the_next_free_one_and_says_so(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    port = choose_port(DEFAULT_HOST, taken)
    assert taken < port <= taken + 50
    assert f"port {taken} is taken, using {port}" in capsys.readouterr().err


def test_a_free_port_is_used_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    port = choose_port(DEFAULT_HOST, 0)
    assert port > 0
    assert choose_port(DEFAULT_HOST, port) == port
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("host", "port"), [(DEFAULT_HOST, -1), (DEFAULT_HOST, 65536), ("203.0.113.7", 0)])
def test_an_address_that_cannot_be_used_is_refused_with_a_remedy(host: str, port: int) -> None:
    with pytest.raises(StartupError, match="Remedy"):
        choose_port(host, port)


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("robot.local", False),
        # A name may lead anywhere, whatever it looks like.
        ("127.0.0.1.example.org", False),
    ],
)
def test_only_loopback_addresses_count_as_private(host: str, private: bool) -> None:
    assert is_loopback(host) is private


def test_only_this_machine_reaches_the_page_unless_it_is_told_otherwise() -> None:
    assert is_loopback(parser().parse_args([]).host)


def test_the_address_that_is_printed_can_be_opened() -> None:
    assert page_url("127.0.0.1", 1) == "http://127.0.0.1:1/"
    assert page_url("0.0.0.0", 1) == "http://127.0.0.1:1/"
    assert page_url("::1", 1) == "http://[::1]:1/"
