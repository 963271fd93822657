"""The doctor in broken surroundings: real child processes, with modules that are missing, raise, abort or hang."""

from __future__ import annotations

import ast
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from background import in_background
from checkout import ROOT

from vlm_perception.apps.doctor import installation, model
from vlm_perception.apps.doctor.findings import Severity
from vlm_perception.apps.doctor.model import check_model
from vlm_perception.apps.doctor.probe import Probe, run_python

DOCTOR = ROOT / "vlm_perception" / "apps" / "doctor"
# All but what runs in a child process only.
STANDARD_LIBRARY_ONLY = sorted(path for path in DOCTOR.glob("*.py") if path.name not in ("graph.py", "ros_probe.py"))
Shadow = Callable[[str, str], None]

BROKEN = {
    "absent": "raise ModuleNotFoundError(f\"No module named '{__name__}'\", name=__name__)",
    "raises": "raise ImportError('libfoo.so.1: cannot open shared object file')",
    "aborts": "import os; os.abort()",
    "compiled half": "class CvBridge:\n    def encoding_to_cvtype2(self, encoding):\n"
    "        raise ImportError('numpy.core.multiarray failed to import')",
}


@pytest.fixture
def shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shadow:
    """Put a module in front of the installed one of that name, for child processes."""

    def put(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")

    return put


TORCH, TRANSFORMERS, CV_BRIDGE = (
    (installation.check_torch, installation._TORCH, Severity.ERROR, "torch cannot be imported", "make setup"),
    (
        installation.check_transformers,
        installation._TRANSFORMERS,
        Severity.ERROR,
        "transformers cannot be imported",
        "",
    ),
    # A warning, because this node needs none.
    (installation.check_cv_bridge, installation._CV_BRIDGE, Severity.WARN, "cv_bridge does not work here", "numpy<2"),
)


@pytest.mark.parametrize(
    ("module", "how", "expected", "said"),
    [
        ("torch", "raises", TORCH, "libfoo.so.1"),
        ("torch", "absent", TORCH, "No module"),
        ("torch", "aborts", TORCH, "SIGABRT"),
        ("transformers", "raises", TRANSFORMERS, "libfoo.so.1"),
        ("cv_bridge", "raises", CV_BRIDGE, "libfoo.so.1"),
        ("cv_bridge", "aborts", CV_BRIDGE, "SIGABRT"),
        ("cv_bridge", "compiled half", CV_BRIDGE, "multiarray"),
    ],
)
def test_a_broken_package_is_a_finding_however_it_breaks(
    shadow: Shadow, module: str, how: str, expected: tuple[Any, ...], said: str
) -> None:
    check, code, level, title, remedy = expected
    shadow(module, BROKEN[how])
    found = check(run_python(["-c", code]))
    assert (found.level, found.title) == (level, title)
    assert said in found.detail
    assert remedy in found.remedy


def test_cv_bridge_that_works_or_is_absent_is_fine(shadow: Shadow) -> None:
    absent = installation.check_cv_bridge(run_python(["-c", installation._CV_BRIDGE]))
    shadow("cv_bridge", "class CvBridge:\n    def encoding_to_cvtype2(self, encoding):\n        return 16")
    works = installation.check_cv_bridge(run_python(["-c", installation._CV_BRIDGE]))
    assert absent.level is works.level is Severity.OK
    assert works.detail.startswith("works; numpy ")


@pytest.mark.parametrize(
    ("how", "title"),
    [("absent", "rclpy is not found"), ("raises", "rclpy does not work"), ("aborts", "rclpy does not work")],
)
def test_broken_rclpy_is_one_error_that_names_what_works_without(shadow: Shadow, how: str, title: str) -> None:
    shadow("rclpy", BROKEN[how])
    (found,) = installation.check_ros_setup()
    assert (found.level, found.title) == (Severity.ERROR, title)
    assert "vlm-detect" in found.remedy


def test_a_middleware_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_nowhere_cpp")
    (found,) = installation.check_ros_setup()
    assert (found.level, found.title) == (Severity.ERROR, "rclpy does not work")
    assert "RMW_IMPLEMENTATION is rmw_nowhere_cpp" in found.remedy


@pytest.mark.parametrize("how", ["absent", "aborts"])
def test_missing_vision_msgs_are_named_with_their_package(
    shadow: Shadow, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    shadow("vision_msgs", BROKEN[how])
    monkeypatch.setenv("ROS_DISTRO", "humble")
    found = installation.check_messages("vision_msgs", "Detection2DArray")
    assert (found.level, found.title) == (Severity.ERROR, "Messages cannot be loaded")
    assert "sudo apt install ros-humble-vision-msgs" in found.remedy
    assert installation.check_messages("std_msgs", "String").level is Severity.OK


@pytest.mark.parametrize(
    ("probe", "level"),
    [
        (Probe({}), Severity.OK),
        (Probe({}, problem="No module named 'vlm_perception_msgs'"), Severity.WARN),
    ],
)
def test_without_its_own_interfaces_the_node_is_of_use(probe: Probe, level: Severity) -> None:
    found = installation.check_goals(probe)
    assert (found.level, "colcon" in (found.remedy or "")) == (level, level is Severity.WARN)


@pytest.mark.parametrize(
    ("distro", "level"),
    [("", Severity.OK), *((d, Severity.OK) for d in installation.SUPPORTED_DISTROS), ("foxy", Severity.WARN)],
)
def test_distribution(distro: str, level: Severity) -> None:
    assert installation.check_distro({"ROS_DISTRO": distro}).level is level


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 9), Severity.ERROR), ((3, 10), Severity.OK), ((3, 12), Severity.OK), ((3, 13), Severity.WARN)],
)
def test_python_version(version: tuple[int, int], level: Severity) -> None:
    assert installation.check_python(version).level is level


def test_an_environment_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    found = installation.check_python_environment({"VLM_PERCEPTION_VENV": str(tmp_path / "none")})
    assert (found.level, found.title) == (Severity.ERROR, "No Python environment holds the packages")
    assert str(tmp_path / "none") in found.detail
    assert "make setup" in found.remedy


@pytest.mark.parametrize(
    ("requirement", "title"),
    [
        ("no-such-thing>=1", "A Python package is missing"),
        ("transformers>=99.0,<100", "A Python package is too old"),
        ("transformers==99.0", "A Python package is too old"),
        ("transformers>=1,<=2.5.1", "A Python package is newer than tried"),
        ("transformers>=1,<2", "A Python package is newer than tried"),
        ("numpy==1", "A Python package is newer than tried"),
    ],
)
def test_a_version_out_of_bounds_is_named(requirement: str, title: str) -> None:
    (found,) = installation.check_requirements([requirement, 'gradio>=99; extra == "ui"'])
    assert found.title == title
    assert requirement in found.detail
    assert found.level is (Severity.WARN if "newer" in title else Severity.ERROR)


def test_the_bounds_of_this_package_hold_here() -> None:
    assert [f.level for f in installation.check_requirements(metadata.requires("vlm-perception"))] == [Severity.OK]
    assert installation.check_requirements(None)[0].level is Severity.WARN


@pytest.mark.parametrize(
    ("torch", "needs", "level"),
    [
        ("2.6.0+cpu", ["numpy", "torch==2.6.0"], Severity.OK),
        ("2.6", ["torch==2.6.0"], Severity.OK),
        ("2.5.1", ["torch==2.6.0"], Severity.ERROR),
        ("2.5.1", ["torch"], Severity.OK),  # NVIDIA's wheels for Jetson pin nothing
        (None, None, Severity.OK),  # a missing torch is another finding
    ],
)
def test_torchvision_of_another_release(torch: str | None, needs: list[str] | None, level: Severity) -> None:
    found = installation.check_torch_pair(torch, "0.21.0", needs)
    assert found.level is level
    assert level is Severity.OK or "torch==2.6.0 torchvision==0.21.0" in found.remedy


@pytest.mark.parametrize(
    ("cuda", "gpus", "nvidia", "title"),
    [
        ("12.4", 2, True, "GPU"),
        (None, 1, False, "GPU"),  # Apple's
        ("12.4", 0, False, "No GPU"),
        ("12.4", 0, True, "The GPU cannot be used"),
        (None, 0, True, "torch is a build for the CPU"),
    ],
)
def test_gpu(cuda: str | None, gpus: int, nvidia: bool, title: str) -> None:
    (found,) = installation.check_gpu({"torch": "2.6.0", "cuda": cuda, "gpus": gpus}, has_nvidia=nvidia)
    assert found.title == title
    assert found.level is (Severity.OK if title == "GPU" else Severity.WARN)


def test_a_child_that_hangs_says_nothing_or_lies_is_a_problem() -> None:
    hung = run_python(["-c", "import time; time.sleep(60)"], timeout_s=1.0)
    killed = run_python(["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    assert ("within 1 s" in hung.problem, "killed" in killed.problem, hung.unseen, killed.unseen) == (True,) * 4
    for check, what in ((installation.check_torch, "torch"), (installation.check_transformers, "transformers")):
        found = check(hung)
        assert (found.level, found.title) == (Severity.UNSEEN, f"{what} could not be looked at"), "that it is broken"
    assert run_python(["-c", "print('hello')"]).problem == "it ended without an answer"
    assert run_python(["-c", "print('[1]')"]).problem == "it ended without an answer"
    assert run_python(["-c", "raise SystemExit(3)"]).problem == "it ended with exit code 3"
    assert run_python(["-c", "print('noise'); print('{}')"]) == Probe({})


def test_a_model_that_is_not_here_is_not_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = check_model("someone/no-such-model", download=False)
    assert (found.level, found.title) == (Severity.ERROR, "The model is not found")
    assert "someone/no-such-model" in found.detail
    assert f"it is not whole in the hub's cache {tmp_path / 'hub'}" in found.detail, "it must not have asked the hub"
    assert "--download" in found.remedy
    assert "OFFLINE" not in found.detail.upper() + found.remedy.upper(), "nobody has set that"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Look for models in this process: a new one takes seconds to import torch."""

    def run(arguments: list[str], environ: dict[str, str]) -> Probe:
        model.main(arguments[-1])
        return Probe(json.loads(capsys.readouterr().out))

    monkeypatch.setattr(model, "run_python", run)


@pytest.fixture
def without_weights(tmp_path: Path) -> Path:
    for path in (ROOT / "models" / "tiny").glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.usefixtures("here")
def test_a_model_folder_without_weights_is_an_error(without_weights: Path) -> None:
    found = check_model(str(without_weights), download=False)
    assert found.title == "The model is not found"
    assert "model.safetensors" in found.detail


@pytest.mark.usefixtures("here")
def test_a_model_larger_than_the_memory_is_an_error(without_weights: Path) -> None:
    with (without_weights / "model.safetensors").open("wb") as weights:
        weights.truncate(2**43)  # takes no room on the disk
    found = check_model(str(without_weights), download=False)
    assert (found.level, found.title) == (Severity.ERROR, "The model does not fit into the free memory")
    assert "GiB" in found.detail


def test_the_shipped_model_is_found() -> None:
    found = check_model("tiny", download=False)
    assert found.level is Severity.OK
    assert re.search(r"0\.0[1-9] GiB of weights for c", found.detail), "the device that would hold them"


def test_the_model_is_not_judged_when_its_libraries_are_broken(shadow: Shadow) -> None:
    shadow("torch", BROKEN["raises"])
    assert check_model("tiny", download=False).title == "The model could not be looked for"


@pytest.mark.parametrize("path", STANDARD_LIBRARY_ONLY, ids=lambda p: p.name)
def test_the_doctor_needs_only_the_standard_library(path: Path) -> None:
    own = ("vlm_perception.apps.doctor", "vlm_perception.startup.environment", "vlm_perception.startup.arguments")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names or name.startswith(own), name


def test_an_interrupt_ends_the_command_without_a_traceback(shadow: Shadow, tmp_path: Path) -> None:
    """Even one that a shell has put in the background, where SIGINT is ignored from the start."""
    started = tmp_path / "started"
    shadow("torch", f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(100)")
    command = in_background([sys.executable, "-m", "vlm_perception.startup.commands", "vlm-perception-doctor"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as doctor:
        while not started.exists():
            assert doctor.poll() is None
            time.sleep(0.02)
        doctor.send_signal(signal.SIGINT)
        told, problems = doctor.communicate(timeout=60)
    assert (told.split("\n")[0], problems) == ("Installation", ""), "what was found before is told"
    assert doctor.returncode == 130


def test_the_command_reports_under_a_bare_python_without_any_package(tmp_path: Path) -> None:
    """As after `colcon build` on a robot whose environment is gone: no torch, no pydantic, no rclpy."""
    bare = getattr(sys, "_base_executable", sys.executable)
    command = [bare, "-m", "vlm_perception.startup.commands", "vlm-perception-doctor", "--json"]
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "VLM_PERCEPTION_VENV": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
    told = json.loads(done.stdout)
    titles = {finding["title"] for finding in told["findings"] if finding["level"] == "ERROR"}
    assert done.returncode == 2, done.stderr
    assert told["level"] == "ERROR"
    assert titles >= {
        "No Python environment holds the packages",
        "torch cannot be imported",
        "transformers cannot be imported",
        "rclpy is not found",
    }
    (missed,) = [finding["title"] for finding in told["findings"] if finding["level"] == "UNSEEN"]
    assert missed == "The model could not be looked for"
    assert all(finding["remedy"] for finding in told["findings"] if finding["level"] != "OK")
