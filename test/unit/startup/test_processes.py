"""Processes that are started together end together, and signals reach each of them once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from background import in_background
from checkout import ROOT

from vlm_perception.startup import commands
from vlm_perception.startup.processes import Processes

TIMEOUT_S = 60.0
# Says that it is ready, then counts the interrupts it gets and ends after the first.
POLITE = """
import pathlib, signal, sys, time
def note(number, frame):
    pathlib.Path(sys.argv[1] + ".signals").open("a").write(signal.Signals(number).name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
# Waits until its neighbour is up, then fails.
FAILING = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.02)
sys.exit(7)
"""


def polite(ready: Path) -> list[str]:
    return [sys.executable, "-c", POLITE, str(ready)]


def wait_for(*paths: Path) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline_s, f"waited in vain for {paths}"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_all_with_zero_and_each_gets_it_once(tmp_path: Path, number: signal.Signals) -> None:
    ready = [tmp_path / "first", tmp_path / "second"]
    commands = [polite(path) for path in ready]
    code = (
        f"import sys; from vlm_perception.startup.processes import Processes; sys.exit(Processes({commands!r}).run())"
    )
    runner = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    wait_for(*ready)
    # As a terminal does it: the whole group of the runner gets the signal.
    os.killpg(runner.pid, number)
    assert runner.wait(TIMEOUT_S) == 0
    for path in ready:
        assert path.with_name(path.name + ".signals").read_text() == "SIGINT\n"


def test_failure_of_one_stops_the_other_and_gives_the_exit_code(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", FAILING, str(tmp_path / "up")]
    assert Processes([polite(tmp_path / "up"), failing]).run() == 7
    assert (tmp_path / "up.signals").read_text() == "SIGINT\n"


def test_end_of_one_that_went_well_gives_zero(tmp_path: Path) -> None:
    assert Processes([[sys.executable, "-c", "pass"]]).run() == 0


def test_process_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    processes = Processes([[sys.executable, "-c", STUBBORN, str(tmp_path / "up")]])
    processes.start()
    wait_for(tmp_path / "up")
    processes.stop(grace_s=0.3)
    assert processes.ended() == -signal.SIGKILL


def test_program_that_does_not_exist_stops_what_was_started(tmp_path: Path) -> None:
    processes = Processes([polite(tmp_path / "up"), [str(tmp_path / "no_such_program")]])
    with pytest.raises(FileNotFoundError):
        processes.start()
    assert processes.ended() is not None


def test_an_interrupt_before_a_command_listens_ends_it_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.importlib, "import_module", lambda name: os.kill(os.getpid(), signal.SIGINT))
    assert commands.run("scene_camera") == commands.INTERRUPTED


SLOW_IMPORT = """
import pathlib, time
pathlib.Path({up!r}).touch()
while True:
    try:
        time.sleep(0.01)
    except BaseException:
        pass
"""


@pytest.mark.parametrize("command", ["vlm_perception_node", "scene_camera", "vlm-detect", "vlm-perception-ui"])
def test_an_interrupt_while_a_command_imports_ends_it_without_a_word(command: str, tmp_path: Path) -> None:
    """Even inside a library that catches every exception, as some do around imports that may fail."""
    up = tmp_path / "up"
    (tmp_path / "numpy.py").write_text(SLOW_IMPORT.format(up=str(up)))
    (tmp_path / "rclpy.py").write_text(SLOW_IMPORT.format(up=str(up)))
    (tmp_path / "pydantic.py").write_text(SLOW_IMPORT.format(up=str(up)))
    started = [sys.executable, "-m", "vlm_perception.startup.commands", command, "a.png", "--prompt", "cup"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    process = subprocess.Popen(started, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(up)
    process.send_signal(signal.SIGINT)
    assert (*process.communicate(timeout=TIMEOUT_S), process.returncode) == ("", "", commands.INTERRUPTED)


def test_an_interrupt_of_a_process_that_only_just_starts_is_kept_until_it_listens(tmp_path: Path) -> None:
    """The start of Python itself could only end in a traceback."""
    told = tmp_path / "told"
    code = (
        "import signal, sys, time\n"
        "from vlm_perception.startup.processes import Processes, ProcessPlan\n"
        "processes = Processes([ProcessPlan('scene_camera').command()])\n"
        "processes.start(); processes.stop(); sys.exit(processes.ended())"
    )
    with told.open("w") as stderr:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=stderr,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert (told.read_text(), done.returncode) == ("", commands.INTERRUPTED)


@pytest.mark.parametrize(
    "starts", ["from vlm_perception.startup.processes import hear_interrupts as h; h()", "import conftest"]
)
def test_children_of_a_job_in_the_background_hear_an_interrupt(starts: str) -> None:
    child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    folders = (ROOT, ROOT / "test", ROOT / "test" / "strategies")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    for first, ignored in ((f"{starts}; ", "False"), ("", "True")):
        code = f"{first}import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
        command = in_background([sys.executable, "-c", code])
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
        assert done.stdout.strip() == ignored
