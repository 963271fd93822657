"""`vlm-perception-ui`: serve the page, say where it is, and end cleanly. No ROS needed.

Exit codes: 0 after SIGINT or SIGTERM; 2 for wrong usage, a setting or port that cannot be used, or when Gradio is not
installed. A model that cannot be loaded is no reason to end: the page shows why.
"""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress

from vlm_perception.apps.options import add_parameters, settings_of
from vlm_perception.apps.web.session import Session
from vlm_perception.apps.web.uploads import MAX_UPLOAD_BYTES
from vlm_perception.engines.factory import make_engine
from vlm_perception.errors import VlmPerceptionError
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import StartupError

# Parameters of the node that mean the same here; types, defaults, limits and texts stand in settings.py.
SHARED = (
    "model", "device", "dtype", "prompt", "task", "min_pixels", "max_pixels", "max_new_tokens", "score_threshold",
    "prompts_file", "zoom", "served_model", "model_family", "server_key_file",
)  # fmt: skip
_PROGRAM = "vlm-perception-ui"
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7860
_PORTS_TRIED, _PORTS_END = 50, 65536
# How long a model may take to come to rest when the page ends.
_REST_TIMEOUT_S = 3.0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until SIGINT or SIGTERM.

    Returns:
        The exit code; see the module's docstring.
    """
    options = parser().parse_args(argv)
    if importlib.util.find_spec("gradio") is None:
        return _refuse(
            "Gradio is not installed, and the page needs it. Remedy: make ui (in the checkout), "
            "or pip install -r requirements-ui.txt"
        )
    print(f"{_PROGRAM}: starting ...", flush=True)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("vlm_perception").setLevel(logging.INFO)
    try:
        settings = settings_of(options, SHARED)
        port = check_address(options.host, options.port)
        with tempfile.TemporaryDirectory(prefix="vlm_perception_ui_", ignore_cleanup_errors=True) as folder:
            tame_gradio(folder, options.host, port)
            session = Session(make_engine(lambda: settings), settings)
            try:
                _serve(session, settings, options.host, port, ended)
            finally:
                session.close(_REST_TIMEOUT_S)
    except (VlmPerceptionError, StartupError) as error:
        return _refuse(str(error))
    # All of ours is closed. Python would now wait for a model in the middle of loading, and needs seconds to take torch
    # apart on a busy machine: longer than those who send SIGTERM like to wait.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog=_PROGRAM, description="Try vlm_perception on pictures in a web page.")
    made.add_argument(
        "--host",
        default=DEFAULT_HOST,
        help="address to listen on; another one than %(default)s lets other machines use the page, which asks for no "
        "password",
    )
    made.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="port to listen on; the next free one when it is taken (%(default)s)",
    )
    add_parameters(made, SHARED)
    return made


def check_address(host: str, port: int) -> int:
    """Find out early that nothing can listen there.

    Args:
        host: Address to listen on.
        port: 1..65535, or 0 for any free port.

    Returns:
        The first port to try.

    Raises:
        StartupError: The port is out of range, or the address is not this machine's.
    """
    if not 0 <= port < _PORTS_END:
        raise StartupError(f"port is {port}, allowed: 0 to {_PORTS_END - 1}. Remedy: give one of these, such as 7860")
    try:
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            return port or int(probe.getsockname()[1])
    except OSError as error:
        raise StartupError(
            f"cannot listen on host {host}: {error}. Remedy: an address of this machine, such as {DEFAULT_HOST} or "
            f"0.0.0.0"
        ) from error


def tame_gradio(folder: str, host: str, port: int) -> None:
    """Set what Gradio reads from the environment, before it is imported.

    Variables that the user may have for other programs could share the page with the world, open folders or start a
    second server; only our own stay.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_SERVER_PORT"] = str(port)
    os.environ["GRADIO_NUM_PORTS"] = str(min(_PORTS_TRIED, _PORTS_END - port))
    os.environ["GRADIO_TEMP_DIR"] = os.environ["GRADIO_EXAMPLES_CACHE"] = folder
    # Gradio asks itself whether it is up; a proxy would answer for somebody else.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), host, "localhost", "127.0.0.1", "::1"]))


def exposure_warning(host: str) -> str:
    """Say what listening on an address means for others; empty for one that only this machine reaches."""
    with suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return ""
    return f"--host {host} lets every machine that reaches it use the page and the model, without a password"


def _serve(session: Session, settings: Settings, host: str, port: int, ended: threading.Event) -> None:
    from vlm_perception.apps.web.page import build_page, launch

    page = build_page(session, settings)
    url = launch(page, host=host, max_file_bytes=MAX_UPLOAD_BYTES)
    if f":{port}/" not in url:
        print(f"{_PROGRAM}: port {port} is taken, using the next free one", file=sys.stderr, flush=True)
    print(f"{_PROGRAM}: the page is at {url} (Ctrl-C ends it)", flush=True)
    if warning := exposure_warning(host):
        print(f"{_PROGRAM}: warning: {warning}", file=sys.stderr, flush=True)
    ended.wait()
    page.close(verbose=False)


def _refuse(reason: str) -> int:
    print(f"{_PROGRAM}: {reason}", file=sys.stderr)
    return 2
