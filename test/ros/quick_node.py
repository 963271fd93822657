"""A node with an engine that answers at once, as a process of its own; see test_faults_process.py."""

from __future__ import annotations

import sys

from rclpy.parameter import Parameter

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.ros.node import VlmPerceptionNode
from vlm_perception.ros.spin import run
from vlm_perception.types import Answer, Request, Timings


class QuickEngine:
    name = "quick"

    def load(self) -> None: ...

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        return self.blank_answer(request)

    def blank_answer(self, request: Request) -> Answer:
        return Answer("[]", request.frame.image_wh, "absolute", "stop", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


def make() -> VlmPerceptionNode:
    values = {"diagnostics_period_s": 0.1, "max_rate_hz": 100.0, "max_age_s": 60.0, "no_image_warning_s": 60.0}
    return VlmPerceptionNode(QuickEngine(), parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])


if __name__ == "__main__":
    sys.exit(run("vlm_perception", make))
