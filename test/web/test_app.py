"""The command starts, warns and refuses in one clear line."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm_perception.apps.web import app


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert app.main([]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Gradio is not installed" in said
    assert "Remedy: make ui" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--max-pixels", "10"], "max_pixels is 10"),
        (["--port", "70000"], "port is 70000"),
        (["--port", "-1"], "port is -1"),
        (["--host", "203.0.113.7"], "cannot listen on host 203.0.113.7"),
        (["--prompts-file", "/no/such.yaml"], "/no/such.yaml"),
    ],
)
def test_a_wrong_argument_is_refused_with_a_remedy(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app.signal, "signal", lambda *_: None)
    assert app.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("vlm-perception-ui: ")
    assert says in said


def test_opening_the_page_to_others_is_warned_about() -> None:
    assert "without a password" in app.exposure_warning("0.0.0.0")
    assert "robot.local" in app.exposure_warning("robot.local")
    # A name may lead anywhere, whatever it looks like.
    assert "without a password" in app.exposure_warning("127.0.0.1.example.org")
    assert [app.exposure_warning(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost")] == [""] * 4
    assert app.exposure_warning(app.parser().parse_args([]).host) == ""


def test_a_taken_port_gives_the_next_free_one_and_says_so(start_server: Callable[..., Any]) -> None:
    # The other tests ask for 127.0.0.1.
    host = "::1" if Path("/proc/net/if_inet6").exists() else app.DEFAULT_HOST
    with socket.create_server((app.DEFAULT_HOST, 0)) as holder:
        taken = holder.getsockname()[1]
        with start_server("--model", "/no/such/model", "--host", host, "--port", str(taken)) as server:
            assert taken < server.port <= taken + 50
            assert f"port {taken} is taken" in server.said
            with urllib.request.urlopen(server.url, timeout=60) as reply:
                assert reply.status == 200
            assert server.end(signal.SIGTERM) == 0


def test_variables_of_other_gradio_programs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in os.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_ALLOWED_PATHS", "/")
    monkeypatch.setenv("NO_PROXY", "example.org")
    app.tame_gradio("/tmp/mine", "127.0.0.1", 65530)
    kept = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
    assert kept == {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_SERVER_PORT": "65530",
        "GRADIO_NUM_PORTS": "6",
        "GRADIO_TEMP_DIR": "/tmp/mine",
        "GRADIO_EXAMPLES_CACHE": "/tmp/mine",
    }
    assert os.environ["NO_PROXY"].startswith("example.org,127.0.0.1")
