"""What the start-up puts on the command line reaches a real ROS node as it was meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from benchmarks.domains import claimed_domain
from vlm_perception.ros.parameters import LiveSettings
from vlm_perception.startup.arguments import plan_processes


@contextmanager
def node_started_with(**values: str) -> Iterator[Node]:
    """Make a node from the ROS arguments of the plan, as the started process would."""
    command = plan_processes(values)[0].command()
    context = Context()
    with claimed_domain() as number:
        rclpy.init(args=command[command.index("--ros-args") :], context=context, domain_id=number)
        node = Node("any", context=context)
        # As the product declares them: rclpy's own declaring cannot take the empty lists of the parameter file.
        LiveSettings(node)
        yield node
        node.destroy_node()
        context.shutdown()


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
    with node_started_with(prompt=prompt) as node:
        assert node.get_parameter("prompt").value == prompt


def test_argument_wins_over_file_and_file_over_nothing(tmp_path: Path) -> None:
    config_file = tmp_path / "robot.yaml"
    config_file.write_text("/**:\n  ros__parameters:\n    device: cpu\n    max_rate_hz: 9.0\n    max_pixels: 5000\n")
    limits = {"max_rate_hz": "2", "max_pixels": "90000", "autostart": "false", "use_sim_time": "true"}
    names = {"namespace": "/robot", "image_topic": "/cam/image", "frame_policy": "every"}
    with node_started_with(config_file=str(config_file), **limits, **names) as node:
        expected = {"max_rate_hz": 2.0, "max_pixels": 90000, "autostart": False, "use_sim_time": True}
        expected |= {"device": "cpu", "frame_policy": "every"}
        assert {name: node.get_parameter(name).value for name in expected} == expected
        assert node.get_fully_qualified_name() == "/robot/vlm_perception"
        assert node.resolve_topic_name("image") == "/cam/image"
