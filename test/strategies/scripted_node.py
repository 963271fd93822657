"""A node with a scripted engine, as a process of its own; the engine is `quick`, `hangs` or `loses its device`."""

from __future__ import annotations

import sys

from rclpy.parameter import Parameter
from robot import PARAMETERS
from scripted_engine import ScriptedEngine

from vlm_perception.errors import DeviceLostError
from vlm_perception.ros.node import VlmPerceptionNode
from vlm_perception.ros.spin import run

PROGRAM = __file__


def make() -> VlmPerceptionNode:
    engine, values = ScriptedEngine(name=sys.argv[1]), PARAMETERS
    if engine.name != "quick":
        values = {"prompt": "cup", "timeout_s": 0.1, "hang_exit_s": 0.5}
    if engine.name == "hangs":
        engine.deaf = True
        engine.thinking.set()
    elif engine.name == "loses its device":
        engine.error = DeviceLostError("an illegal memory access was encountered")
    return VlmPerceptionNode(engine, parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])


if __name__ == "__main__":
    sys.exit(run("vlm_perception", make, []))
