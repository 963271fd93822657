"""The real page as a process of its own, and a real browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import pytest
from checkout import ROOT

from vlm_perception.apps.web.examples import examples
from vlm_perception.frames.encodings import Pixels

START_TIMEOUT_S = 240
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Written into every server: a connection or a look-up that leaves this machine is noted in a file.
SPY = """
import os, sys
def spy(event, args):
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        return
    target = args[1] if event == "socket.connect" else args[0]
    host = target[0] if isinstance(target, tuple) else target
    host = host.decode() if isinstance(host, bytes) else host
    if isinstance(target, (str, bytes)) and event == "socket.connect":
        return
    if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"):
        with open(os.environ["SPY_FILE"], "a") as notes:
            print(event, target, file=notes)
sys.addaudithook(spy)
"""


@dataclass
class Server:
    """A running `vlm-perception-ui`.

    Attributes:
        folder: Its working directory; `tmp` in it is where it may write.
        process: The process.
        lines: What it has said so far, stdout and stderr.
    """

    folder: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def foreign_connections(self) -> str:
        notes = self.folder / "spy" / "notes.txt"
        return notes.read_text() if notes.exists() else ""

    def written_files(self) -> list[str]:
        own = {self.folder / "spy", self.folder / "tmp"}
        return sorted(str(path) for path in self.folder.rglob("*") if not own & {path, *path.parents})

    def temporary_files(self) -> list[Path]:
        return sorted(path for path in (self.folder / "tmp").rglob("*") if path.is_file())

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=START_TIMEOUT_S)


@contextmanager
def serve(folder: Path, *arguments: str) -> Iterator[Server]:
    """Start the page in an empty folder and wait until it says where it is."""
    (folder / "spy").mkdir()
    (folder / "tmp").mkdir()
    (folder / "spy" / "sitecustomize.py").write_text(SPY)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "spy"), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SPY_FILE": str(folder / "spy" / "notes.txt"),
        "TMPDIR": str(folder / "tmp"),
    }
    command = [sys.executable, "-m", "vlm_perception.startup.commands", "vlm-perception-ui", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    server, found = Server(folder, process), threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            server.lines.append(line)
            if match := re.search(r"the page is at (\S+)", line):
                server.url = match[1]
                found.set()
        found.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert found.wait(START_TIMEOUT_S), server.said
        assert server.url, server.said
        yield server
    finally:
        process.kill()
        process.wait()
        listener.join()
        if process.stdout is not None:
            process.stdout.close()


def _camera_rgb() -> Pixels:
    return next(example.scene.rgb for example in examples() if example.name == "Description")


def _write_video(path: Path, rgbs: Sequence[Pixels]) -> Path:
    """Write frames at 10 Hz."""
    with av.open(str(path), "w") as container:
        codec = "mpeg4" if path.suffix == ".mp4" else "mjpeg"
        stream = container.add_stream(codec, rate=10, options={"q:v": "2"})
        stream.height, stream.width = rgbs[0].shape[:2]
        stream.pix_fmt = "yuv420p" if codec == "mpeg4" else "yuvj420p"
        for rgb in rgbs:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Write a video: `write_video(path, rgbs)`."""
    return _write_video


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Where the browser is; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no browser: apt-get install -y chromium, then run this again")
    return path


@pytest.fixture(scope="module")
def browser(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose camera films the red cart."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        filmed = _write_video(tmp_path_factory.mktemp("camera") / "camera.mjpeg", [_camera_rgb()] * 5)
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        arguments += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        arguments.append(f"--use-file-for-fake-video-capture={filmed}")
        chromium = driver.chromium.launch(executable_path=browser_path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Start a page: `with start_server("--port", "0") as server`."""
    return lambda *arguments: serve(tmp_path_factory.mktemp("web"), *arguments)
