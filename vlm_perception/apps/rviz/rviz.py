"""Starts RViz 2 with a layout for the cameras that the running node names in its parameters.

It stands in the namespace of the node and takes the same remappings, so that the names come out the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import rclpy
import yaml
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vlm_perception.apps.rviz.layout import layout_of
from vlm_perception.ros.topics import NODE
from vlm_perception.startup.arguments import share_directory

# The node offers its parameters before it loads a model.
_PATIENCE_S = 60.0


class _LookedAt(TypedDict):
    """What `layout_of` needs to know of the node."""

    cameras: list[str]
    depths: dict[str, str]
    target_frame: str
    remembers: bool


def main(args: Sequence[str] | None = None) -> int:
    """Make the layout and become RViz; returns only when that cannot be started."""
    # Ctrl-C in the meantime ends this program as any other.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    # The underscore hides it from `ros2 node list`.
    node = Node("_vlm_perception_rviz", enable_rosout=False, start_parameter_services=False)
    try:
        path = _write_layout(node)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    try:
        os.execvp("rviz2", ["rviz2", "-d", str(path)])
    except OSError as error:
        print(f"vlm-perception: rviz2 cannot be started: {error}", file=sys.stderr)
        return 1


def _write_layout(node: Node) -> Path:
    shipped = share_directory() / "rviz" / "vlm_perception.rviz"
    template = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    perception = f"{node.get_namespace().rstrip('/')}/{NODE}"
    layout = layout_of(template, node=perception, **_looked_at(node, perception))
    # Where launch keeps its logs, too; one for each namespace, so that two robots do not write the same file.
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    path = home / f"vlm_perception{node.get_namespace().rstrip('/').replace('/', '_')}.rviz"
    try:
        home.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(layout, sort_keys=False), encoding="utf-8")
    except OSError as error:
        print(f"vlm-perception: {error}; RViz starts with the layout for one camera", file=sys.stderr)
        return shipped
    return path


def _looked_at(node: Node, perception: str) -> _LookedAt:
    """Ask the node for its topics of raw images, their depth, and its memory; unanswered, the one topic `image`."""
    client = node.create_client(GetParameters, f"{perception}/get_parameters")
    topics: list[str] = []
    depths: list[str] = []
    target_frame, memory_file = "", ""
    if client.wait_for_service(_PATIENCE_S):
        names = ["image_topics", "depth_topics", "target_frame", "memory_file"]
        future = client.call_async(GetParameters.Request(names=names))
        rclpy.spin_until_future_complete(node, future, timeout_sec=_PATIENCE_S)
        if future.done() and (answer := future.result()) is not None:
            images, depth, target, memory = answer.values
            topics, depths = list(images.string_array_value), list(depth.string_array_value)
            target_frame, memory_file = target.string_value, memory.string_value
    else:
        print(f"vlm-perception: {perception} does not answer; RViz shows the camera `image`", file=sys.stderr)
    cameras = [node.resolve_topic_name(topic).removesuffix("/compressed") for topic in topics or ["image"]]
    found = {camera: node.resolve_topic_name(depth) for camera, depth in zip(cameras, depths, strict=False) if depth}
    return {
        "cameras": list(dict.fromkeys(cameras)),
        "depths": found,
        "target_frame": target_frame,
        "remembers": bool(memory_file),
    }


if __name__ == "__main__":
    sys.exit(main())
