"""The launch files fit launch and launch_ros of ROS 2 Jazzy, which cannot be installed on every machine.

Where they are installed the files are run against them; everywhere, the names and keywords they use are checked
against those of Jazzy, recorded in test/strategies/recorded_launch.py from its sources.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from recorded_launch import JAZZY, load, of_type

from vlm_perception.startup.arguments import (
    DEMO_DEFAULTS,
    DEMO_ENDINGS,
    ENDING_ARGUMENTS,
    LAUNCH_ARGUMENTS,
    StartupError,
    ending_of,
)
from vlm_perception.startup.processes import ProcessPlan

Start = Callable[..., list[dict[str, Any]]]
ARGUMENTS = (*LAUNCH_ARGUMENTS, *ENDING_ARGUMENTS)
DEFAULTS = {argument.name: argument.default for argument in ARGUMENTS}
OURS = sorted((ROOT / "launch").glob("*.launch.py"))
FILES = [*OURS, *sorted((ROOT / "launch" / "examples").glob("*.launch.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_imported_name_and_keyword_exists_in_jazzy(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("launch")]
    names = {alias.name: str(node.module) for node in imports for alias in node.names}
    for name, module in names.items():
        assert name in JAZZY[module], f"{module}.{name}"
    calls = [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", None) in names]
    assert calls
    for call in calls:
        name = ast.unparse(call.func)
        assert {keyword.arg for keyword in call.keywords} <= JAZZY[names[name]][name], name


@pytest.mark.parametrize(
    ("name", "defaults"),
    [("vlm_perception.launch.py", {}), ("demo.launch.py", DEMO_DEFAULTS | DEMO_ENDINGS)],
    ids=["main", "demo"],
)
def test_arguments_are_declared_from_the_one_table(
    name: str, defaults: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = load(ROOT / "launch" / name, monkeypatch).generate_launch_description().args[0]
    declared = {entity.args[0]: entity.kwargs for entity in of_type(described, "DeclareLaunchArgument")}
    assert list(declared) == [argument.name for argument in ARGUMENTS]
    for argument in ARGUMENTS:
        kwargs = declared[argument.name]
        assert kwargs["description"] == argument.description
        assert kwargs["default_value"] == defaults.get(argument.name, argument.default)
        assert kwargs["choices"] == (list(argument.choices) or None)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return what the launch file makes of each node, for arguments that differ from their defaults."""
    launch_file = load(ROOT / "launch" / "vlm_perception.launch.py", monkeypatch)
    return lambda **given: [node.kwargs for node in launch_file.start_nodes(DEFAULTS | given)]


def test_node_gets_file_first_and_arguments_second(start: Start) -> None:
    (node,) = start(model="a/b", image_topic="/cam", namespace="robot", autostart="false")
    assert (node["package"], node["executable"]) == ("vlm_perception", "vlm_perception_node")
    assert (node["remappings"], node["namespace"]) == ([("image", "/cam")], "robot")
    config_file, given = node["parameters"]
    assert config_file.endswith("config/vlm_perception.yaml")
    assert (given["model"].args, given["model"].kwargs) == (("a/b",), {"value_type": str})
    assert (given["autostart"].args, given["autostart"].kwargs) == ((False,), {"value_type": bool})


@pytest.mark.parametrize(
    ("given", "logger"),
    [
        ({}, "vlm_perception"),
        ({"ros_namespace": "/robot1"}, "robot1.vlm_perception"),
        ({"ros_namespace": "/robot1", "namespace": "front"}, "robot1.front.vlm_perception"),
        ({"ros_namespace": "/robot1", "namespace": "/front"}, "front.vlm_perception"),
    ],
)
def test_debug_counts_for_the_node_s_own_logger_and_not_for_rviz(
    start: Start, given: dict[str, str], logger: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rviz2").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    node, rviz = start(log_level="debug", rviz="true", **given)
    assert node["ros_arguments"] == ["--log-level", f"{logger}:=debug"]
    assert rviz["ros_arguments"] == ["--log-level", "info"]


def test_unless_told_otherwise_a_group_s_namespace_counts_and_a_node_that_ends_leaves_the_robot_running(
    start: Start,
) -> None:
    (node,) = start()
    assert node["namespace"] is None, "a namespace of its own would be added to a pushed one, or replace it"
    assert node["remappings"] == []
    assert (node["on_exit"], node["respawn"]) == (None, False)
    (alone,) = start(**DEMO_ENDINGS)
    assert type(alone["on_exit"]).__name__ == "Shutdown"


def test_a_node_that_is_started_again_does_not_end_the_launch(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rviz2").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    node, rviz = start(rviz="true", respawn="true", respawn_delay_s="7", exit_ends_launch="true")
    assert (node["respawn"], node["respawn_delay"], node["on_exit"]) == (True, 7.0, None)
    # People close RViz.
    assert rviz["respawn"] is False
    assert type(rviz["on_exit"]).__name__ == "Shutdown"


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan", ""])
def test_a_wrong_delay_is_named_with_its_remedy(text: str) -> None:
    with pytest.raises(StartupError, match=f"respawn_delay_s is {text!r}.*Remedy"):
        ending_of(ProcessPlan("vlm_perception_node"), DEFAULTS | {"respawn_delay_s": text})


def test_demo_passes_every_argument_on(monkeypatch: pytest.MonkeyPatch) -> None:
    described = load(ROOT / "launch" / "demo.launch.py", monkeypatch).generate_launch_description().args[0]
    (included,) = of_type(described, "IncludeLaunchDescription")
    assert [name for name, _ in included.kwargs["launch_arguments"]] == [a.name for a in ARGUMENTS]
    assert Path(included.args[0].args[0]).is_file()


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not on this machine")
@pytest.mark.parametrize("path", OURS, ids=lambda p: p.name)
def test_real_launch_accepts_the_file(path: Path) -> None:
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    description = PythonLaunchDescriptionSource(str(path)).get_launch_description(LaunchContext())
    offered = {argument.name for argument in description.get_launch_arguments()}
    assert offered >= {argument.name for argument in ARGUMENTS}
