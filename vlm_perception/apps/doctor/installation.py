"""Checks of Python, its packages and ROS 2, without looking at who else is there."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vlm_perception.apps.doctor.findings import Finding, error, ok, unseen, warning
from vlm_perception.apps.doctor.probe import Probe, run_python
from vlm_perception.startup.environment import EnvironmentSetupError, choose_environment

DISTRIBUTION = "vlm-perception"
LOWEST_PYTHON, HIGHEST_PYTHON = (3, 10), (3, 12)
_SET_UP = "run `make setup` in the checkout of vlm_perception with your ROS 2 sourced"
_NVIDIA_DEVICES = ("/dev/nvidia0", "/etc/nv_tegra_release")
_VERSION = re.compile(r"\s*(>=|<=|==|<|>)\s*([\d.]+)")

_TORCH = """
import json, torch, torchvision
mps = torch.backends.mps.is_available()
print(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__,
                  "cuda": torch.version.cuda, "gpus": torch.cuda.device_count() + mps}))
"""
_TRANSFORMERS = """
import json, transformers
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration
print(json.dumps({"version": transformers.__version__}))
"""
# Asking for a type loads the compiled half, which is what breaks beside another NumPy.
_CV_BRIDGE = """
import importlib.util, json
found = importlib.util.find_spec("cv_bridge") is not None
if found:
    from cv_bridge import CvBridge
    CvBridge().encoding_to_cvtype2("bgr8")
import numpy
print(json.dumps({"found": found, "numpy": numpy.__version__}))
"""

SUPPORTED_DISTROS = ("humble", "jazzy", "kilted")
_WITHOUT_ROS = "vlm-detect and vlm-perception-ui work without ROS"

# A node, because only then the middleware opens its sockets; messages are loaded with their compiled half.
_RCLPY = """
import json, rclpy
rclpy.init(args=[])
node = rclpy.create_node("_vlm_perception_doctor", enable_rosout=False, start_parameter_services=False)
print(json.dumps({"rmw": rclpy.get_rmw_implementation_identifier()}))
node.destroy_node()
rclpy.shutdown()
"""
_MESSAGE = """
import importlib, json
from rclpy.type_support import check_for_type_support
check_for_type_support(getattr(importlib.import_module("{package}.msg"), "{name}"))
print(json.dumps({{}}))
"""
MESSAGES = (
    ("sensor_msgs", "Image"),
    ("std_msgs", "String"),
    ("diagnostic_msgs", "DiagnosticArray"),
    ("visualization_msgs", "ImageMarker"),
    ("vision_msgs", "Detection2DArray"),
)
# What programs ask by; the node is of use without.
_GOALS = ("vlm_perception_msgs", "Answer")


def check_installation() -> Iterator[Finding]:
    """Check everything below ROS and the model, one after the other."""
    yield check_python(sys.version_info[:2])
    yield check_python_environment(os.environ)
    yield from check_requirements(_requirements())
    yield check_torch_pair(_version("torch"), _version("torchvision"), _requirements("torchvision"))
    torch = run_python(["-c", _TORCH])
    yield check_torch(torch)
    yield from check_gpu(torch.facts, has_nvidia=_has_nvidia())
    yield check_transformers(run_python(["-c", _TRANSFORMERS]))
    yield check_cv_bridge(run_python(["-c", _CV_BRIDGE]))


def check_python(version: tuple[int, int]) -> Finding:
    """Check the version of Python, given as (major, minor)."""
    said = f"{version[0]}.{version[1]} at {sys.executable}"
    bounds = f"{LOWEST_PYTHON[0]}.{LOWEST_PYTHON[1]} to {HIGHEST_PYTHON[0]}.{HIGHEST_PYTHON[1]}"
    if version < LOWEST_PYTHON:
        return error("Python is too old", said, f"use Python {bounds}: {_SET_UP}")
    if version > HIGHEST_PYTHON:
        return warning("Python is newer than tried", said, f"if something fails, use Python {bounds}")
    return ok("Python", said)


def check_python_environment(environ: Mapping[str, str]) -> Finding:
    """Check that a Python environment holds the packages, by the rule that starts every command."""
    try:
        choose_environment(environ)
    except EnvironmentSetupError as problem:
        said, _, remedy = str(problem).partition(" Remedy: ")
        return error("No Python environment holds the packages", said, remedy)
    return ok("Python environment", sys.prefix)


def check_requirements(requirements: Sequence[str] | None) -> list[Finding]:
    """Hold the installed versions against what the package asks for.

    Args:
        requirements: As `importlib.metadata.requires` gives them; None when the package is not installed.
    """
    if requirements is None:
        return [warning("The package is not installed", f"no metadata of {DISTRIBUTION}", _SET_UP)]
    needed = [text for text in requirements if ";" not in text]
    found = [finding for text in needed if (finding := _check_requirement(text)) is not None]
    return found or [ok("Python packages", f"all {len(needed)} are within their bounds")]


def check_torch_pair(torch: str | None, torchvision: str | None, needs: Sequence[str] | None) -> Finding:
    """Check that torch is the release which torchvision was built for.

    Args:
        torch: Installed version, or None.
        torchvision: Installed version, or None.
        needs: What torchvision's metadata require.
    """
    pinned = next((text[len("torch==") :] for text in needs or () if text.startswith("torch==")), None)
    if torch and torchvision and pinned and numbers(pinned) != numbers(torch):
        return error(
            "torch and torchvision do not belong together",
            f"torchvision {torchvision} was built for torch {pinned}, installed is torch {torch}",
            f"install a pair, such as `pip install torch=={pinned} torchvision=={torchvision}`, or {_SET_UP}",
        )
    return ok("torch and torchvision", f"torch {torch or 'missing'}, torchvision {torchvision or 'missing'}")


def check_torch(probe: Probe) -> Finding:
    """Check that torch and torchvision can be imported."""
    if probe.unseen:
        return _unseen("torch", probe)
    if probe.problem:
        remedy = f"{_SET_UP}; another build of torch: `make setup TORCH=...`"
        return error("torch cannot be imported", probe.problem, remedy)
    return ok("torch imports", f"torch {probe.facts['torch']}, torchvision {probe.facts['torchvision']}")


def check_transformers(probe: Probe) -> Finding:
    """Check that transformers can be imported and knows the model family."""
    if probe.unseen:
        return _unseen("transformers", probe)
    if probe.problem:
        return error("transformers cannot be imported", probe.problem, _SET_UP)
    return ok("transformers imports", f"transformers {probe.facts['version']}")


def check_gpu(torch: Mapping[str, Any], *, has_nvidia: bool) -> list[Finding]:
    """Check that torch sees a GPU; nothing when torch told nothing.

    Args:
        torch: Facts of the torch probe.
        has_nvidia: Whether this machine shows signs of an NVIDIA GPU.
    """
    if not torch:
        return []
    build = f"torch {torch['torch']} ({'CUDA ' + torch['cuda'] if torch['cuda'] else 'no CUDA'})"
    if torch["gpus"]:
        return [ok("GPU", f"{build} sees {torch['gpus']}")]
    if not has_nvidia:
        remedy = "fine for the tiny model; with 3B a frame takes many seconds: use a GPU with 10 GB or more"
        return [warning("No GPU", f"{build} runs on the CPU", remedy)]
    if torch["cuda"]:
        remedy = "check `nvidia-smi`: the driver must be loaded, new enough, and passed into the container"
        return [warning("The GPU cannot be used", f"{build} sees none, but this machine has one", remedy)]
    remedy = 'install a CUDA build: `make setup TORCH="--index-url ... torch torchvision"` (Jetson: NVIDIA\'s wheels)'
    return [warning("torch is a build for the CPU", f"{build}, but this machine has an NVIDIA GPU", remedy)]


def check_cv_bridge(probe: Probe) -> Finding:
    """Check cv_bridge, which this node takes for rare encodings alone; nodes beside it may need it."""
    if probe.unseen:
        return _unseen("cv_bridge", probe)
    if probe.problem:
        return warning(
            "cv_bridge does not work here",
            probe.problem,
            "vlm_perception reads all but rare encodings without it; for other nodes in this environment: "
            "pip install 'numpy<2', or keep them in an environment of their own",
        )
    seen = "works" if probe.facts["found"] else "is not installed, and not needed"
    return ok("cv_bridge", f"{seen}; numpy {probe.facts['numpy']}")


def check_ros_setup() -> Iterator[Finding]:
    """Check ROS 2, one after the other; one finding is all there is when rclpy does not work."""
    rclpy = check_rclpy(run_python(["-c", _RCLPY]), os.environ)
    if not rclpy.remedy:
        yield check_distro(os.environ)
    yield rclpy
    if not rclpy.remedy:
        yield from (check_messages(package, name) for package, name in MESSAGES)
        yield check_goals(run_python(["-c", _MESSAGE.format(package=_GOALS[0], name=_GOALS[1])]))


def check_distro(environ: Mapping[str, str]) -> Finding:
    """Check which ROS 2 was sourced, if any was."""
    distro = environ.get("ROS_DISTRO", "")
    if not distro:
        return ok("ROS distribution", "none is sourced: ROS 2 comes from the environment's own packages")
    if distro not in SUPPORTED_DISTROS:
        return warning(
            "The ROS distribution was not tried", distro, f"if something fails, use {', '.join(SUPPORTED_DISTROS)}"
        )
    return ok("ROS distribution", distro)


def check_rclpy(probe: Probe, environ: Mapping[str, str]) -> Finding:
    """Check that a ROS node can be made."""
    rmw, domain = environ.get("RMW_IMPLEMENTATION", ""), environ.get("ROS_DOMAIN_ID", "0")
    if probe.unseen:
        return _unseen("rclpy", probe)
    if "No module named 'rclpy'" in probe.problem:
        remedy = f"source /opt/ros/<distribution>/setup.bash, then `make setup`; {_WITHOUT_ROS}"
        return error("rclpy is not found", probe.problem, remedy)
    if probe.problem:
        asked = f"; RMW_IMPLEMENTATION is {rmw}: install it or unset the variable" if rmw else ""
        remedy = f"Python must be the one that this ROS 2 was built for{asked}; {_WITHOUT_ROS}"
        return error("rclpy does not work", probe.problem, remedy)
    return ok("rclpy", f"{probe.facts['rmw']}, ROS_DOMAIN_ID {domain}")


def check_messages(package: str, name: str) -> Finding:
    """Check that the messages of a package can be sent."""
    probe = run_python(["-c", _MESSAGE.format(package=package, name=name)])
    if probe.unseen:
        return _unseen(package, probe)
    if probe.problem:
        apt = f"ros-{os.environ.get('ROS_DISTRO', '<distribution>')}-{package.replace('_', '-')}"
        remedy = f"sudo apt install {apt}; without a sourced ROS 2: `make setup`"
        return error("Messages cannot be loaded", f"{package}: {probe.problem}", remedy)
    return ok("Messages", package)


def check_goals(probe: Probe) -> Finding:
    """Check that programs can ask by `~/detect` and `~/detect_at`."""
    package, _ = _GOALS
    if probe.unseen:
        return _unseen(package, probe)
    if probe.problem:
        remedy = (
            f"`make setup` builds {package} for the node alone, and colcon for all, by the command in docs/robot.md; "
            "source the workspace afterwards"
        )
        return warning("There is no ~/detect and no ~/detect_at", f"{package}: {probe.problem}", remedy)
    return ok("Messages", package)


def numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version, such as (2, 6) of `2.6.0+cpu`; zeros at the end do not count."""
    found = re.match(r"\d+(\.\d+)*", version)
    release = [int(part) for part in found.group().split(".")] if found else []
    while release and release[-1] == 0:
        release.pop()
    return tuple(release)


def _unseen(what: str, probe: Probe) -> Finding:
    return unseen(f"{what} could not be looked at", probe.problem, "run this again when the machine is less busy")


def _check_requirement(text: str) -> Finding | None:
    name = re.split(r"[<>=!~ \[]", text, maxsplit=1)[0]
    installed = _version(name)
    if installed is None:
        return error("A Python package is missing", f"{text} is not installed", _SET_UP)
    have = numbers(installed)
    for operator, bound in _VERSION.findall(text):
        limit = numbers(bound)
        if have < limit and operator in (">=", "=="):
            return error("A Python package is too old", f"{name} {installed}, needed is {text}", _SET_UP)
        if (have > limit and operator in ("<=", "==")) or (have >= limit and operator == "<"):
            remedy = f"if something fails, pip install '{text}'"
            return warning("A Python package is newer than tried", f"{name} {installed}, tried is {text}", remedy)
    return None


def _requirements(distribution: str = DISTRIBUTION) -> list[str] | None:
    try:
        return metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _has_nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None or any(Path(sign).exists() for sign in _NVIDIA_DEVICES)
