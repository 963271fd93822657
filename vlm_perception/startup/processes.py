"""A process to start, as a plan, and a few of them running together.

Signals are passed on, and when one process ends the others are stopped. Standard library only.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

PACKAGE = "vlm_perception"

ParameterValue = str | int | float | list[str]

# How long a process may take to end after each signal, in seconds, before the next, harder one is sent.
GRACE_S = 10.0
POLL_S = 0.1
OWN = ("-m", "vlm_perception.startup.commands")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def hear_interrupts() -> None:
    """Take SIGINT where it is ignored from the start, as by jobs that a shell has put in the background.

    A process that ignores a signal hands that on to its children, which could not be asked to end by it either.
    Must be called from the main thread, before any child is started.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class ProcessPlan:
    """One process to start.

    Attributes:
        executable: Installed command, or a path where there is no package.
        package: ROS package that installs it; empty for none.
        name: Node name; empty keeps the program's own.
        namespace: Node namespace; empty for none.
        parameter_files: Parameter files, read in this order.
        parameters: Parameters set after the files, so that they win.
        remappings: Pairs of topic names, from and to.
        arguments: Arguments before `--ros-args`.
        log_level: Least severe log lines that are shown; debug counts for the node of that name alone.
    """

    executable: str
    package: str = PACKAGE
    name: str = ""
    namespace: str = ""
    parameter_files: tuple[str, ...] = ()
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    log_level: str = "info"

    def command(self) -> list[str]:
        """Return the command line that starts this process without ROS launch."""
        program = [sys.executable, *OWN, self.executable] if self.package == PACKAGE else [self.executable]
        ros_arguments = self.log_arguments()
        if self.name:
            ros_arguments += ["-r", f"__node:={self.name}"]
        if self.namespace:
            ros_arguments += ["-r", f"__ns:=/{self.namespace.strip('/')}"]
        for path in self.parameter_files:
            ros_arguments += ["--params-file", path]
        for name, value in self.parameters.items():
            # ROS reads the value as YAML; a JSON string is YAML that stays a string whatever it holds.
            ros_arguments += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
        for source, target in self.remappings:
            ros_arguments += ["-r", f"{source}:={target}"]
        return [*program, *self.arguments, "--ros-args", *ros_arguments]

    def log_arguments(self, pushed_namespace: str = "") -> list[str]:
        """Return the ROS arguments that set the log level.

        More than usual is shown of the node alone: rcl and the middleware below it write thousands of lines.

        Args:
            pushed_namespace: That of the launch group around it, which a namespace without a leading slash is added to.
        """
        if self.log_level != "debug":
            return ["--log-level", self.log_level]
        if not self.name:
            return ["--log-level", "info"]
        outer = "" if self.namespace.startswith("/") else pushed_namespace
        parts = [*f"{outer}/{self.namespace}/{self.name}".split("/")]
        return ["--log-level", f"{'.'.join(filter(None, parts))}:=debug"]


class Processes:
    """Processes that live and end together; the first one is the one that matters.

    Attributes:
        commands: Command lines, in the order of starting.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self.commands = [list(command) for command in commands]
        self._running: list[subprocess.Popen[bytes]] = []
        self._stop_asked = threading.Event()

    def start(self) -> None:
        """Start them all; if one cannot be started, those already running are stopped and the error is raised.

        Raises:
            OSError: A program does not exist or cannot be run.
        """
        try:
            for command in self.commands:
                self._running.append(_started(command))
        except OSError:
            self.stop()
            raise

    def run(self) -> int:
        """Start, wait for a signal or the end of any process, stop the rest.

        Must be called from the main thread, whose SIGINT and SIGTERM handlers are replaced meanwhile.

        Returns:
            0 when asked to stop and every process ended well, else the exit code of the process that failed.
        """
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.start()
            while not self._stop_asked.wait(POLL_S) and self.ended() is None:
                pass
            first_to_end = self.ended()
            self.stop()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if first_to_end is not None and not self._stop_asked.is_set():
            return _exit_code(first_to_end)
        return max(_exit_code(process.returncode) for process in self._running)

    def ended(self) -> int | None:
        """Return the exit code of a process that has ended, the first in order of starting, or None."""
        return next((code for process in self._running if (code := process.poll()) is not None), None)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask every process to end, first politely, and wait until all have."""
        for number in STOP_SIGNALS:
            for process in self._running:
                if process.poll() is None:
                    process.send_signal(number)
            if self._wait_all(grace_s):
                return

    def _wait_all(self, timeout_s: float) -> bool:
        try:
            for process in self._running:
                process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked.set()


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    # A Python that is only just starting ends in a traceback when it is interrupted; ours lets the signal in itself.
    kept = {signal.SIGINT} if tuple(command[1:3]) == OWN else set()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, kept)
    try:
        # A session of its own: Ctrl-C in a terminal reaches only us, and each process gets it once, from us.
        return subprocess.Popen(command, start_new_session=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_code(returncode: int) -> int:
    """Return what a shell would report: a process ended by signal N counts as 128 + N."""
    return returncode if returncode >= 0 else 128 - returncode
