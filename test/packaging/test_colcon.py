"""A package that colcon installed finds the environment with torch, though ROS starts it with the system's Python."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT, SHIPPED

TIMEOUT_S = 280
# What the outer environment may carry and a fresh terminal on a robot does not.
LEAKS = ("PYTHONPATH", "VIRTUAL_ENV", "VLM_PERCEPTION_VENV", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
NODE = "lib/vlm_perception/vlm_perception_node"


def copy_of_checkout(target: Path) -> Path:
    """Copy what a checkout holds, without the environment that is beside it."""
    skip = shutil.ignore_patterns(".git", ".venv*", "build", "install", "log", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, target, ignore=lambda folder, names: skip(folder, names) if Path(folder) == ROOT else set())
    return target


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH whose python3 is this Python without any package, as the system's is on a robot."""
    folder = tmp_path_factory.mktemp("bare_bin")
    (folder / "python3").symlink_to(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    return folder


@pytest.fixture(scope="module", params=["copied", "linked"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The install folder of a workspace that colcon built, with and without --symlink-install."""
    workspace = tmp_path_factory.mktemp(f"workspace_{request.param}")
    copy_of_checkout(workspace / "src" / "vlm_perception")
    command = [sys.executable, "-m", "colcon", "build", "--packages-select", "vlm_perception"]
    if request.param == "linked":
        command.append("--symlink-install")
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace / "install"


def run_sourced(
    installed: Path, bare_python: Path, command: list[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Source the workspace as a user does and run a command there with the bare Python on PATH."""
    env = {key: value for key, value in os.environ.items() if key not in LEAKS} | environment
    env["PATH"] = f"{bare_python}:/usr/bin:/bin"
    script = f". {shlex.quote(str(installed / 'setup.bash'))} && exec {shlex.join(command)}"
    return subprocess.run(
        ["bash", "-c", script], env=env, cwd=installed, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )


def check_environment(installed: Path, bare_python: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Let the installed node say what it finds, started by the bare Python whatever its first line names."""
    script = str(installed / "vlm_perception" / NODE)
    return run_sourced(installed, bare_python, ["python3", script, "--check-environment"], **environment)


def test_scripts_and_files_are_where_ros2_looks(installed: Path) -> None:
    prefix = installed / "vlm_perception"
    for script in ("vlm_perception_node", "scene_camera", "file_camera", "vlm-perception-run", "vlm-perception-demo"):
        assert os.access(prefix / "lib" / "vlm_perception" / script, os.X_OK), script
    share = prefix / "share" / "vlm_perception"
    for name in (
        "package.xml",
        "config/vlm_perception.yaml",
        "rviz/vlm_perception.rviz",
        "foxglove/vlm_perception.json",
        "launch/demo.launch.py",
    ):
        assert (share / name).is_file(), name
    assert (prefix / "share/ament_index/resource_index/packages/vlm_perception").is_file()


@pytest.mark.parametrize("model", [folder.name for folder in SHIPPED])
def test_tiny_model_is_installed_whole(installed: Path, model: str) -> None:
    source = ROOT / "models" / model
    names = {path.name for path in source.iterdir() if path.is_file()}
    assert "model.safetensors" in names
    copied = {path.name for path in (installed / "vlm_perception/share/vlm_perception/models" / model).iterdir()}
    assert copied == names


def test_script_does_not_name_the_python_of_the_build(installed: Path) -> None:
    if "linked" in str(installed):
        pytest.skip("develop mode of setuptools always names the Python of the build; the next test covers it")
    first_line = (installed / "vlm_perception" / NODE).read_text().splitlines()[0]
    assert first_line == "#!/usr/bin/env python3"


def test_node_under_the_bare_python_finds_torch_of_the_environment(installed: Path, bare_python: Path) -> None:
    without = subprocess.run(
        [bare_python / "python3", "-c", "import torch"], cwd="/", capture_output=True, text=True, check=False
    )
    assert "No module named 'torch'" in without.stderr, "the bare Python is not bare"
    # Copied, the build remembered the environment; linked, the checkout's own .venv would be found, so name it.
    named = {"VLM_PERCEPTION_VENV": sys.prefix} if "linked" in str(installed) else {}
    done = check_environment(installed, bare_python, **named)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "environment: complete" in done.stdout
    assert f"at {sys.prefix}/bin/python3" in done.stdout


def test_one_clear_error_when_the_environment_is_not_there(installed: Path, bare_python: Path, tmp_path: Path) -> None:
    done = check_environment(installed, bare_python, VLM_PERCEPTION_VENV=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "cannot find torch" in done.stderr
    assert "not a virtual environment" in done.stderr
    assert "Remedy: run `make setup`" in done.stderr
    assert "Traceback" not in done.stderr


def test_installed_package_finds_its_own_files(installed: Path, bare_python: Path) -> None:
    code = (
        "from vlm_perception.startup.arguments import plan_processes, DEMO_DEFAULTS as D; node = plan_processes(D)[0]; "
        "print(node.parameters['model']); print(node.parameter_files[0])"
    )
    done = run_sourced(installed, bare_python, ["python3", "-c", code])
    assert done.returncode == 0, done.stderr
    for line in done.stdout.split():
        assert Path(line).exists(), line
        assert Path(line).is_relative_to(installed.parent), line
