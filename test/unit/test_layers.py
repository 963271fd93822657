"""Only vlm_perception/ros touches ROS, and what launch files import needs nothing installed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT

PACKAGE = ROOT / "vlm_perception"
ROS_MODULES = {"rclpy", "cv_bridge", "ament_index_python", "launch", "launch_ros", "rosidl_runtime_py", "tf2_ros"}
# Read by the system's Python before the environment with torch is found.
STANDARD_LIBRARY_ONLY = ("__init__.py", *(f"startup/{path.name}" for path in (PACKAGE / "startup").glob("*.py")))
# Heavy: importing the core must not cost seconds before a command can even print its help.
LAZY_ONLY = {"torch", "transformers", "accelerate"}

ALL_FILES = sorted(PACKAGE.rglob("*.py"))
EDGE = ("ros", "apps/cameras", "apps/demo", "apps/doctor/ros_probe")
CORE_FILES = [path for path in ALL_FILES if not path.relative_to(PACKAGE).as_posix().startswith(EDGE)]


def imported(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Yield the names of the top packages that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


def is_ros(module: str) -> bool:
    return module in ROS_MODULES or module.endswith(("_msgs", "_srvs", "_interfaces"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_the_check_itself_sees_ros_imports() -> None:
    assert {"rclpy", "vision_msgs", "std_srvs"} <= {
        name for name in ("rclpy", "vision_msgs", "std_srvs") if is_ros(name)
    }
    assert any(is_ros(name) for path in (PACKAGE / "ros").rglob("*.py") for name in imported(path))


@pytest.mark.parametrize("path", CORE_FILES, ids=relative)
def test_core_imports_no_ros(path: Path) -> None:
    assert [name for name in imported(path) if is_ros(name)] == []


@pytest.mark.parametrize("path", CORE_FILES, ids=relative)
def test_core_does_not_import_the_ros_edge(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    reached = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    assert [name for name in reached if name.startswith("vlm_perception.ros")] == []


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_startup_needs_only_the_standard_library(name: str) -> None:
    allowed = set(sys.stdlib_module_names) | {"vlm_perception"}
    assert sorted(set(imported(PACKAGE / name)) - allowed) == []


def test_startup_imports_only_modules_of_its_kind() -> None:
    for name in STANDARD_LIBRARY_ONLY:
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        own = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or "").startswith("vlm")}
        assert own <= {f"vlm_perception.startup.{Path(other).stem}" for other in STANDARD_LIBRARY_ONLY}, name


@pytest.mark.parametrize("path", [p for p in CORE_FILES if "engines" not in p.parts], ids=relative)
def test_core_outside_the_engines_imports_no_model_library(path: Path) -> None:
    assert sorted(set(imported(path, top_level_only=True)) & LAZY_ONLY) == []


@pytest.mark.parametrize("path", [p for p in ALL_FILES if "web" not in p.parts], ids=relative)
def test_only_the_web_page_needs_gradio(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    reached = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    assert "gradio" not in set(imported(path))
    assert [name for name in reached if name.startswith("vlm_perception.apps.web")] == []


def test_only_one_module_of_the_web_page_imports_gradio() -> None:
    assert [path.name for path in (PACKAGE / "apps" / "web").glob("*.py") if "gradio" in set(imported(path))] == [
        "page.py"
    ]
