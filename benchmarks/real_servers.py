"""Real servers with a checkpoint, as child processes: transformers' own, vLLM's, and vLLM's router before several.

vLLM lives in an environment of its own, because it pins another torch: `make test-servers` makes it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
SERVERS_VENV = ROOT / ".venv-servers"
_HOST = "127.0.0.1"
# vLLM takes a minute on quiet cores.
_START_S = 600.0
_STOP_S = 20.0
_LOOK_PERIOD_S = 0.2
_LOG_CHARS = 3000
_VLLM_OPTIONS = (
    *("--max-model-len", "2048", "--max-num-seqs", "16", "--dtype", "float32", "--enforce-eager"),
    *("--block-size", "32", "--limit-mm-per-prompt", '{"image": 1, "video": 0}'),
    *("--enable-prompt-tokens-details", "--trust-request-mm-kwargs"),
)
# Where tests are killed, Linux stops their servers: prctl(2), PR_SET_PDEATHSIG, SIGTERM.
_END_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
# One thread each: on cores that others use, too, OpenMP's threads wait for each other most of the time.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
_VLLM_ENVIRONMENT = {
    **_ENVIRONMENT,
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "PYTHONPATH": str(ROOT / "benchmarks" / "vllm_cpu"),
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server.

    Attributes:
        name: `transformers`, `vllm` or `vllm-router`.
        version: Its release.
        address: Where it listens, such as `http://127.0.0.1:8000`.
        model: What it calls its model: the checkpoint's folder.
    """

    name: str
    version: str
    address: str
    model: str
    _process: subprocess.Popen[bytes]
    _log: Path

    @property
    def url(self) -> str:
        """Base URL, as the parameter `model` takes it."""
        return f"{self.address}/v1"

    @property
    def pid(self) -> int:
        """Of the process; its children are in its process group."""
        return self._process.pid

    def wait_until_up(self) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: It does not; the message ends with what it wrote last.
        """
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                if httpx.get(f"{self.address}/health", timeout=2.0).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            try:
                self._process.wait(_LOOK_PERIOD_S)
            except subprocess.TimeoutExpired:
                continue
        said = self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARS:]
        raise RuntimeError(f"{self.name} did not come up; it wrote: ... {said}")

    def kill(self) -> None:
        """End it as a crash would, with all its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it, with all its children; does nothing when it has ended."""
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            pass
        except ProcessLookupError:
            return
        if _group_is_alive(self._process.pid):
            self.kill()


@contextmanager
def serve_transformers(folder: Path) -> Iterator[Server]:
    """Run `transformers serve` of this environment."""
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", str(folder), "--host", _HOST, "--device", "cpu", "--dtype", "float32"]
    version = metadata.version("transformers")
    with _started("transformers", version, str(folder), command, _ENVIRONMENT) as server:
        server.wait_until_up()
        yield server


@contextmanager
def serve_vllm(folder: Path, number: int) -> Iterator[tuple[Server, ...]]:
    """Run vLLM servers, which start side by side."""
    # The command `vllm` asks for a distribution of that name, which the CPU build is not.
    command = [str(SERVERS_VENV / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server", "--host", _HOST]
    command += ["--model", str(folder), "--served-model-name", str(folder), *_VLLM_OPTIONS]
    version = installed_version("vllm-cpu")
    with ExitStack() as stack:
        servers = tuple(
            stack.enter_context(_started("vllm", version, str(folder), command, _VLLM_ENVIRONMENT))
            for _ in range(number)
        )
        for server in servers:
            server.wait_until_up()
        yield servers


@contextmanager
def serve_router(workers: Sequence[Server]) -> Iterator[Server]:
    """Run vLLM's router before servers that are up."""
    command = [str(SERVERS_VENV / "bin" / "vllm-router"), "--host", _HOST, "--policy", "round_robin"]
    command += ["--prometheus-port", str(_free_port()), "--worker-urls", *(worker.address for worker in workers)]
    version = installed_version("vllm-router")
    with _started("vllm-router", version, workers[0].model, command, _ENVIRONMENT) as server:
        server.wait_until_up()
        yield server


def installed_version(distribution: str) -> str:
    """Return the release of a distribution in the servers' environment.

    Raises:
        FileNotFoundError: There is no such environment; `make test-servers` makes it.
    """
    found = sorted(SERVERS_VENV.glob(f"lib/python*/site-packages/{distribution.replace('-', '_')}-*.dist-info"))
    if not found:
        raise FileNotFoundError(f"{distribution} is not in {SERVERS_VENV}; make test-servers installs it")
    return found[0].name.removesuffix(".dist-info").rpartition("-")[2]


@contextmanager
def _started(
    name: str, version: str, model: str, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Server]:
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-c", _END_WITH_PARENT, *command, "--port", str(port)],
                env={**os.environ, **environment},
                cwd=folder,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = Server(name, version, f"http://{_HOST}:{port}", model, process, log)
        try:
            yield server
        finally:
            server.stop()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((_HOST, 0))
        return int(asked.getsockname()[1])


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
