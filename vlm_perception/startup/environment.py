"""Find the Python environment that holds torch, and say which setting this process runs in.

Standard library only: this runs before anything else can be imported.

A node that colcon installed is started by the system's Python (ROS 2's own), which cannot see the virtual environment
that holds torch. So every console script first calls `enter_environment`: when the packages cannot be found, it
restarts the same command once with the Python of the environment. The process keeps its id, so signals of
`ros2 launch` still arrive, and what a sourced ROS 2 put on PYTHONPATH stays first.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

VENV_VARIABLE = "VLM_PERCEPTION_VENV"
RECORD_NAME = "built_with.json"
NEEDED_MODULES = ("torch", "torchvision", "transformers", "supervision", "pydantic", "accelerate")
# Set in the restarted process, so that an environment without the packages is an error and not an endless loop.
RESTARTED_VARIABLE = "_VLM_PERCEPTION_RESTARTED_IN"


class EnvironmentSetupError(Exception):
    """No usable Python environment; the text names what was tried and the remedy."""


@dataclass(frozen=True)
class VenvCandidate:
    """A virtual environment that may hold the packages.

    Attributes:
        path: Folder of the environment.
        named_by: Who named it, for messages.
    """

    path: Path
    named_by: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python3"

    def configuration(self) -> dict[str, str]:
        """Return the keys of its pyvenv.cfg; empty when this is not a virtual environment."""
        config = self.path / "pyvenv.cfg"
        if not config.is_file():
            return {}
        pairs = (line.partition("=") for line in config.read_text(encoding="utf-8").splitlines())
        return {key.strip(): value.strip() for key, _, value in pairs}


def running_version() -> str:
    """Return the version of the running Python as `major.minor`."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def missing_modules() -> tuple[str, ...]:
    """Name the needed modules that the running Python cannot find (none of them is imported)."""
    return tuple(name for name in NEEDED_MODULES if importlib.util.find_spec(name) is None)


def candidates(environ: Mapping[str, str]) -> Iterator[VenvCandidate]:
    """Yield the environments to try, best first."""
    if environ.get(VENV_VARIABLE):
        yield VenvCandidate(Path(environ[VENV_VARIABLE]).expanduser().absolute(), f"the variable {VENV_VARIABLE}")
        return
    if environ.get("VIRTUAL_ENV"):
        yield VenvCandidate(Path(environ["VIRTUAL_ENV"]), "the activated environment (VIRTUAL_ENV)")
    package = Path(__file__).resolve().parents[1]
    record = package / RECORD_NAME
    if record.is_file():
        venv = json.loads(record.read_text(encoding="utf-8"))["venv"]
        yield VenvCandidate(Path(venv), "the build of this package")
    # A checkout, also when colcon linked to it (--symlink-install): resolve() above led back here.
    if (package.parent / "package.xml").is_file():
        yield VenvCandidate(package.parent / ".venv", "the checkout")


def choose_environment(environ: Mapping[str, str]) -> VenvCandidate | None:
    """Return the environment to restart in, or None when the running one is right.

    Raises:
        EnvironmentSetupError: Packages are missing and no environment can help.
    """
    asked_for = environ.get(VENV_VARIABLE)
    if asked_for and Path(asked_for).expanduser().absolute() == Path(sys.prefix):
        asked_for = None
    missing = missing_modules()
    if not missing and not asked_for:
        return None
    restarted_in = environ.get(RESTARTED_VARIABLE)
    if restarted_in:
        if not missing:
            return None
        raise EnvironmentSetupError(f"the environment {restarted_in} lacks {', '.join(missing)}. {_remedy()}")
    tried = []
    for candidate in candidates(environ):
        problem = _problem_with(candidate, missing)
        if problem is None:
            return candidate
        tried.append(f"{candidate.path} (named by {candidate.named_by}): {problem}")
    raise EnvironmentSetupError(
        f"Python {running_version()} at {sys.executable} cannot find {', '.join(missing) or 'the named environment'}. "
        f"Tried: {'; '.join(tried) or 'no environment is named'}. {_remedy()}"
    )


def enter_environment(*, required: bool = True) -> None:
    """Make sure the needed packages can be imported, restarting this command in their environment if need be.

    Returns only when the running Python is the right one; ends the process with status 1 and one clear line when there
    is none.

    Args:
        required: Whether it is an end when no environment is right; else the command goes on in the running Python.
    """
    try:
        chosen = choose_environment(os.environ)
    except EnvironmentSetupError as error:
        if not required:
            return
        print(f"vlm_perception: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if chosen is None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    command = [str(chosen.python), *sys.orig_argv[1:]]
    os.execve(command[0], command, {**os.environ, RESTARTED_VARIABLE: str(chosen.path)})


def describe_environment() -> str:
    """Say in a few lines which setting was found; nothing heavy is imported.

    Returns:
        Lines that name the ROS 2 in use, the Python, the environment, and the versions of the packages that matter.
    """
    rclpy = _location("rclpy")
    distro = os.environ.get("ROS_DISTRO", "")
    if rclpy is None:
        setting = "no ROS 2: rclpy cannot be found"
    elif rclpy.is_relative_to(sys.prefix) and sys.prefix != sys.base_prefix:
        setting = f"no ROS 2 sourced: ROS 2 {_wheels()} from Python wheels ({rclpy})"
    else:
        setting = f"sourced ROS 2 {distro or '(ROS_DISTRO is not set)'} ({rclpy})"
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "supervision", "numpy"))
    lines = [
        f"setting: {setting}",
        f"python: {'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}",
        f"packages: {versions}",
        f"vision_msgs: {_location('vision_msgs') or 'not found'}",
    ]
    return "\n".join(lines)


def check_environment() -> int:
    """Import what the node needs, print what was found; return 0, or 1 when an import failed."""
    print(describe_environment())
    for name in ("torch", "transformers", "rclpy", "vision_msgs.msg"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"cannot import {name}: {error}", file=sys.stderr)
            return 1
    print("environment: complete")
    return 0


def _problem_with(candidate: VenvCandidate, missing_here: tuple[str, ...]) -> str | None:
    configuration = candidate.configuration()
    if not configuration or not candidate.python.exists():
        return "not a virtual environment"
    version = ".".join(configuration.get("version", configuration.get("version_info", "")).split(".")[:2])
    if version != running_version():
        return f"made for Python {version}, but this command (and the ROS 2 it uses) runs Python {running_version()}"
    site_packages = candidate.path / "lib" / f"python{version}" / "site-packages"
    # An environment that also sees the system's packages only has to bring what the system lacks.
    sees_system = configuration.get("include-system-site-packages") == "true"
    wanted = missing_here if sees_system else NEEDED_MODULES
    lacking = [name for name in wanted if not (site_packages / name).exists()]
    return f"{', '.join(lacking)} not installed in it" if lacking else None


def _remedy() -> str:
    return (
        "Remedy: run `make setup` in the checkout of vlm_perception with this ROS 2 sourced, then "
        f"export {VENV_VARIABLE}=<checkout>/.venv"
    )


def _location(module: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _wheels() -> str:
    """Name the ROS 2 whose rclpy is installed as a wheel."""
    names = (str(each.name) for each in metadata.distributions())
    parts = [name.lower().replace("_", "-").split("-") for name in names if name]
    return next((part[1].capitalize() for part in parts if part[0] == "ros" and part[2:] == ["rclpy"]), "(unknown)")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    print(describe_environment())
