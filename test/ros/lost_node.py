"""A node whose model never comes back, or loses its device, as a process of its own; see test_recovery.py."""

from __future__ import annotations

import sys
import threading

from rclpy.parameter import Parameter

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.errors import DeviceLostError
from vlm_perception.ros.node import VlmPerceptionNode
from vlm_perception.ros.spin import run
from vlm_perception.types import Answer, Request, Timings


class LostEngine:
    name = "lost"

    def load(self) -> None: ...

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        if sys.argv[1] == "hangs":
            threading.Event().wait()
        raise DeviceLostError("an illegal memory access was encountered")

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", request.frame.image_wh, "absolute", "unfinished", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


def make() -> VlmPerceptionNode:
    values = {"prompt": "cup", "timeout_s": 0.1, "hang_exit_s": 0.5}
    return VlmPerceptionNode(LostEngine(), parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])


if __name__ == "__main__":
    sys.exit(run("vlm_perception", make, []))
