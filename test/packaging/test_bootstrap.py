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


@pytest.mark.parametrize(
    ("version", "fails_on", "environment", "said"),
    [
        ("3.9.18", "nothing", {}, ["is 3.9.18", "Python 3.10 or 3.11 or 3.12 is needed"]),
        ("3.13.0", "nothing", {}, ["is 3.13.0", "Python 3.10 or 3.11 or 3.12 is needed"]),
        ("3.11.2", "ensurepip", {}, ["apt-get install -y python3.11-venv"]),
        (
            "3.12.3",
            "import rclpy",
            {"ROS_DISTRO": "jazzy"},
            ["cannot import rclpy", "source /opt/ros/jazzy/setup.bash"],
        ),
    ],
)
def test_python_that_does_not_fit_is_refused_with_a_remedy(tmp_path, version, fails_on, environment, said) -> None:
    python = fake_python(tmp_path, version, fails_on=fails_on)
    done = run_bootstrap("--python", python, "--venv", str(tmp_path / "venv"), **environment)
    assert done.returncode == 1
    assert [part for part in ("Remedy: ", *said) if part not in done.stderr] == []
    assert not (tmp_path / "venv").exists()


def test_wheels_of_another_ros_are_asked_for_by_name(tmp_path: Path) -> None:
    found = {}
    for wheels, pythons in bootstrap.WHEEL_PYTHONS.items():
        number = "{}.{}.1".format(*pythons[0])
        setting = bootstrap.find_setting(fake_python(tmp_path, number), wheels)
        assert f"ROS 2 {wheels.capitalize()} from Python wheels, Python {number}" in setting.describe()
        (file,) = (path for path in bootstrap.requirement_files(setting, "run") if "-ros-" in path.name)
        names = [line.partition(">=")[0] for line in file.read_text().splitlines() if not line.startswith("#")]
        found[wheels] = [name.replace(wheels, "*") for name in names]
    # Kilted finds Python without a package for it, and has cut another in two.
    assert set(found["jazzy"]) - set(found["kilted"]) == {"ros-*-python-cmake-module"}
    assert set(found["kilted"]) - set(found["jazzy"]) == {"ros-*-ament-cmake-ros-core"}


def test_a_python_without_wheels_is_refused(tmp_path: Path) -> None:
    done = run_bootstrap("--python", fake_python(tmp_path, "3.10.2"), "--ros-wheels", "kilted")
    assert done.returncode == 1
    assert "Python 3.11 or 3.12 is needed" in done.stderr


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


def test_key_follows_requirements_commands_setting_and_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in (*ROOT.glob("requirements*.txt"), ROOT / "setup.py", ROOT / "setup.cfg"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "build_interfaces.py").touch()
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    key = bootstrap.state_key(no_ros(), "run", "")
    assert key == bootstrap.state_key(no_ros(), "run", "")
    assert len({bootstrap.state_key(no_ros(), kind, "") for kind in bootstrap.KINDS}) == len(bootstrap.KINDS)
    others = {bootstrap.state_key(no_ros("3.12.1"), "run", ""), bootstrap.state_key(no_ros(), "run", "torch.whl")}
    for name in ("requirements.txt", "setup.py"):
        with (tmp_path / name).open("a") as file:
            file.write("# one more\n")
        others.add(bootstrap.state_key(no_ros(), "run", ""))
    assert len(others | {key}) == 5


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
