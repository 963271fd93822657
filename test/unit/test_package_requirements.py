"""The requirements are written once, hold for what is installed, and cover what the code imports."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from checkout import ROOT
from packaging.requirements import Requirement
from packaging.version import Version


def is_used(path: Path) -> bool:
    """Whether a file is meant for this environment: the wheels of another ROS 2 are not."""
    _, is_ros, distro = path.stem.partition("requirements-ros-")
    return not is_ros or any(f"ros-{distro}-" in each.name for each in metadata.distributions())


FILES = [path for path in sorted(ROOT.glob("requirements*.txt")) if is_used(path)]
# Import name to distribution name, where they differ.
DISTRIBUTIONS = {
    "backports": "backports.zstd",
    "compression": "backports.zstd",  # from Python 3.14 on
    "cv2": "opencv-python-headless",
    "huggingface_hub": "huggingface-hub",
    "PIL": "pillow",
    "qwen_vl_utils": "qwen-vl-utils",
    "yaml": "pyyaml",
}
ROS_SUFFIXES = ("_msgs", "_srvs", "_interfaces")
ROS_MODULES = {"rclpy", "cv_bridge", "tf2_py", "rcl_interfaces", "builtin_interfaces"}


def read(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


RUN_TIME = read(ROOT / "requirements.txt")
UI = read(ROOT / "requirements-ui.txt")
ALL = [(path.name, requirement) for path in FILES for requirement in read(path)]


def identify(item: tuple[str, Requirement]) -> str:
    return f"{item[0]}:{item[1].name}"


@pytest.mark.parametrize("item", ALL, ids=identify)
def test_installed_version_lies_within_the_bounds(item: tuple[str, Requirement]) -> None:
    name, requirement = item
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        if name == "requirements.txt":
            raise
        pytest.skip(f"{requirement.name} is not needed in this setting")
    assert requirement.specifier.contains(Version(installed), prereleases=True), f"{installed} not in {requirement}"


@pytest.mark.parametrize("requirement", RUN_TIME, ids=lambda r: r.name)
def test_run_time_requirement_has_a_lower_and_an_upper_bound(requirement: Requirement) -> None:
    operators = {specifier.operator for specifier in requirement.specifier}
    assert operators & {">=", "=="}, requirement
    assert operators & {"<", "<=", "=="}, requirement


def test_no_distribution_is_written_down_twice() -> None:
    names = [requirement.name.lower().replace("_", "-") for _, requirement in ALL]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


# What setup.py hands over; an installed package would say what it was when it was installed.
GIVEN = """
import json, runpy, setuptools
setuptools.setup = lambda **given: print(json.dumps([given["install_requires"], given["extras_require"]]))
runpy.run_path("setup.py")
"""


def test_setup_py_takes_exactly_the_run_time_file_and_those_of_its_extras() -> None:
    run = subprocess.run([sys.executable, "-c", GIVEN], cwd=ROOT, capture_output=True, text=True, check=True)
    needed, extras = json.loads(run.stdout.splitlines()[-1])
    assert {str(Requirement(line)) for line in needed} == {str(requirement) for requirement in RUN_TIME}
    assert list(extras) == ["ui", "quantized", "int8"]
    for name, lines in extras.items():
        stated = read(ROOT / f"requirements-{name}.txt")
        assert {str(Requirement(line)) for line in lines} == {str(requirement) for requirement in stated}


def test_every_third_party_import_is_required() -> None:
    missing = set()
    for path in (ROOT / "vlm_perception").rglob("*.py"):
        allowed = [*RUN_TIME, *UI] if path.parent.name == "web" else RUN_TIME
        required = {requirement.name for requirement in allowed}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for top in (name.split(".")[0] for name in names):
                own = top in sys.stdlib_module_names or top in {"vlm_perception", *ROS_MODULES}
                # pydantic pins pydantic-core to one version, so a bound of ours could only be wrong.
                if own or top.endswith(ROS_SUFFIXES) or top == "pydantic_core":
                    continue
                if DISTRIBUTIONS.get(top, top) not in required:
                    missing.add(f"{path.name}: {top}")
    assert sorted(missing) == []
