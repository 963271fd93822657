"""Set-up that cannot go on says why and what to do, and a finished one is recognised at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

BOOTSTRAP = ROOT / "scripts" / "bootstrap.py"
sys.path.insert(0, str(BOOTSTRAP.parent))

import bootstrap  # noqa: E402


def run_bootstrap(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "ROS_DISTRO"} | environment
    return subprocess.run(
        [sys.executable, str(BOOTSTRAP), *arguments], env=env, capture_output=True, text=True, check=False, timeout=120
    )


def fake_python(folder: Path, version: str, *, fails_on: str = "nothing", name: str = "python3") -> str:
    """An interpreter that claims a version, and fails when asked for code that holds `fails_on`."""
    path = folder / name
    path.write_text(f'#!/bin/sh\ncase "$*" in *"{fails_on}"*) exit 1;; esac\necho {version}\n')
    path.chmod(0o755)
    return str(path)


def no_ros(version: str = "3.11.7", python: str = sys.executable) -> bootstrap.Setting:
    return bootstrap.Setting(None, python, version)


@pytest.mark.parametrize("version", ["3.9.18", "3.13.0"])
def test_python_that_has_no_ros_wheels_is_refused(tmp_path: Path, version: str) -> None:
    done = run_bootstrap("--python", fake_python(tmp_path, version), "--venv", str(tmp_path / "venv"))
    assert done.returncode == 1
    assert f"is {version}" in done.stderr
    assert "Python 3.10, 3.11 or 3.12 is needed" in done.stderr
    assert "Remedy: " in done.stderr
    assert not (tmp_path / "venv").exists()


def test_missing_venv_module_names_the_debian_package(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "3.11.2", fails_on="ensurepip")
    done = run_bootstrap("--python", python, "--venv", str(tmp_path / "venv"))
    assert done.returncode == 1
    assert "apt-get install -y python3.11-venv" in done.stderr


def test_sourced_ros_whose_python_does_not_fit_is_refused(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "3.12.3", fails_on="import rclpy")
    done = run_bootstrap("--python", python, "--venv", str(tmp_path / "venv"), ROS_DISTRO="jazzy")
    assert done.returncode == 1
    assert "cannot import rclpy" in done.stderr
    assert "source /opt/ros/jazzy/setup.bash" in done.stderr


@pytest.mark.parametrize("distro", bootstrap.SUPPORTED_DISTROS)
def test_sourced_ros_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distro: str) -> None:
    monkeypatch.setenv("ROS_DISTRO", distro)
    setting = bootstrap.find_setting(fake_python(tmp_path, "3.12.3"))
    assert (setting.distro, setting.version) == (distro, "3.12.3")
    assert f"sourced ROS 2 {distro}" in setting.describe()


def test_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(bootstrap.SetupError, match="is not a virtual environment"):
        bootstrap.prepare_venv(tmp_path, no_ros())
    assert (tmp_path / "precious.txt").exists()


def test_half_made_environment_is_told_from_a_good_one(tmp_path: Path) -> None:
    half = tmp_path / "half"
    (half / "bin").mkdir(parents=True)
    (half / "pyvenv.cfg").write_text("include-system-site-packages = false\nversion = 3.11.7\n")
    (half / "bin" / "python").symlink_to(tmp_path / "gone")
    assert "half made" in str(bootstrap.why_unusable(half, no_ros()))
    running = "{}.{}.{}".format(*sys.version_info)
    good = bootstrap.why_unusable(Path(sys.prefix), no_ros(running))
    assert good is None or "another setting" in good


def test_environment_of_another_python_is_made_anew() -> None:
    assert "made for Python" in str(bootstrap.why_unusable(Path(sys.prefix), no_ros("3.9.1")))


def test_key_follows_requirements_setting_and_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = bootstrap.state_key(no_ros(), "run", "")
    assert key == bootstrap.state_key(no_ros(), "run", "")
    assert len({bootstrap.state_key(no_ros(), kind, "") for kind in bootstrap.KINDS}) == len(bootstrap.KINDS)
    assert key != bootstrap.state_key(no_ros("3.12.1"), "run", "")
    assert key != bootstrap.state_key(no_ros(), "run", "torch-of-the-robot.whl")
    changed = tmp_path / "requirements.txt"
    changed.write_text((ROOT / "requirements.txt").read_text() + "one-more\n")
    monkeypatch.setattr(bootstrap, "requirement_files", lambda *_: [changed])
    assert key != bootstrap.state_key(no_ros(), "run", "")


def test_key_follows_setup_py_so_that_new_commands_reach_old_environments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in (*ROOT.glob("requirements*.txt"), ROOT / "setup.py", ROOT / "setup.cfg"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "build_vision_msgs.py").touch()
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    key = bootstrap.state_key(no_ros(), "run", "")
    assert key == bootstrap.state_key(no_ros(), "run", "")
    (tmp_path / "setup.py").write_text((ROOT / "setup.py").read_text() + "# one more command\n")
    assert key != bootstrap.state_key(no_ros(), "run", "")


def test_the_page_and_the_tests_bring_gradio_and_the_node_does_not() -> None:
    with_gradio = {
        kind
        for kind in bootstrap.KINDS
        if any("gradio" in path.read_text(encoding="utf-8") for path in bootstrap.requirement_files(no_ros(), kind))
    }
    assert with_gradio == {"ui", "dev"}


def test_finished_environment_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = f"{sys.base_prefix}/bin/python3"
    setting = bootstrap.find_setting(python)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(python)
    stamp = tmp_path / bootstrap.STAMP_NAME
    stamp.write_text(f'{{"run": "{bootstrap.state_key(setting, "run", "")}"}}')
    bootstrap.set_up(tmp_path, "run", python, "")
    assert "is up to date" in capsys.readouterr().out


def test_broken_stamp_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / bootstrap.STAMP_NAME).write_text("{half")
    assert bootstrap.stamped_keys(tmp_path) == {}
