"""Where the page listens."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

from vlm_perception.startup.arguments import StartupError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7860
_PORTS_TRIED = 50
_LARGEST_PORT = 65535


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def page_url(host: str, port: int) -> str:
    """Name the page for a browser on this machine."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    shown = anywhere.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


def choose_port(host: str, wanted: int) -> int:
    """Return the wanted port, or the next free one, with a line on stderr that says so.

    Args:
        host: Address to listen on.
        wanted: 1..65535, or 0 for any free port.

    Raises:
        StartupError: The port is out of range, none of the next ones is free, or the address is not this machine's.
    """
    if not 0 <= wanted <= _LARGEST_PORT:
        raise StartupError(f"port is {wanted}, allowed: 0 to {_LARGEST_PORT}. Remedy: give one of these, such as 7860")
    tried = [0] if wanted == 0 else range(wanted, min(wanted + _PORTS_TRIED, _LARGEST_PORT + 1))
    for port in tried:
        free = _free_port(host, port)
        if free is not None:
            if wanted not in (0, free):
                print(f"vlm-perception-ui: port {wanted} is taken, using {free}", file=sys.stderr, flush=True)
            return free
    raise StartupError(f"ports {tried[0]} to {tried[-1]} of {host} are all taken. Remedy: --port 0 takes any free one")


def _free_port(host: str, port: int) -> int | None:
    """Bind and let go; None when the port is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does, or ports of an earlier page would count as taken for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise StartupError(
            f"cannot listen on host {host}, port {port}: {error}. Remedy: an address of this machine, such as "
            f"{DEFAULT_HOST} or 0.0.0.0, and a port above 1023"
        ) from error
