"""What the start-up puts on the command line reaches a real ROS node as it was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from vlm_perception.ros.parameters import LiveSettings
from vlm_perception.startup.arguments import plan_processes

DOMAIN_ID = 72


def node_started_with(values: dict[str, str]) -> tuple[Node, Context]:
    """Make a node from the ROS arguments of the plan, as the started process would."""
    command = plan_processes(values)[0].command()
    context = Context()
    rclpy.init(args=command[command.index("--ros-args") :], context=context, domain_id=DOMAIN_ID)
    node = Node("any", context=context)
    # As the product declares them: rclpy's own declaring cannot take the empty lists of the parameter file.
    LiveSettings(node)
    return node, context


@pytest.mark.parametrize(
    "prompt",
    [
        "every red circle",
        "yes",  # YAML reads a boolean
        "12",  # a number
        "~",  # nothing
        "[a, b]",  # a list
        "which: left or right?",  # a mapping
        'the "big" one, it\'s #1',
        "C:\\dir\\n",
        " spaces around ",
        "a:=b",
        "穿红色衣服的人：在左边",
        "🚲 on the road",
    ],
)
def test_prompt_stays_the_same_string(prompt: str) -> None:
    node, context = node_started_with({"prompt": prompt})
    try:
        assert node.get_parameter("prompt").value == prompt
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_autostart_and_clock_are_switches_to_the_node() -> None:
    node, context = node_started_with({"autostart": "false", "use_sim_time": "true", "frame_policy": "every"})
    try:
        assert node.get_parameter("autostart").value is False
        assert node.get_parameter("use_sim_time").value is True
        assert node.get_parameter("frame_policy").value == "every"
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_argument_wins_over_file_and_file_over_nothing(tmp_path: Path) -> None:
    config_file = tmp_path / "robot.yaml"
    config_file.write_text("/**:\n  ros__parameters:\n    device: cpu\n    max_rate_hz: 9.0\n    max_pixels: 5000\n")
    values = {"config_file": str(config_file), "max_rate_hz": "2", "max_pixels": "90000", "namespace": "/robot"}
    node, context = node_started_with(values | {"image_topic": "/cam/image"})
    try:
        assert node.get_fully_qualified_name() == "/robot/vlm_perception"
        assert node.get_parameter("device").value == "cpu"
        assert node.get_parameter("max_rate_hz").value == 2.0
        assert node.get_parameter("max_pixels").value == 90000
        assert node.resolve_topic_name("image") == "/cam/image"
    finally:
        node.destroy_node()
        context.try_shutdown()
