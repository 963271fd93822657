"""What asking as a program costs beside the model: `python -m benchmarks.goals`.

The real node with the tiny model and a camera of 30 Hz at 1280x720 are processes of their own; here is the program that
asks, one goal after the other, about the next image of the camera, about an image of its own, and once more about the
image of the answer before by its stamp. `model` is what the answer itself says it took (`timings`: preprocessing,
generating, reading); `around` is all the rest between sending and having the result: both ways over DDS, waiting for
the image, the scheduler, placing, messages. `~/detect_once` stands beside them. Then goals are cancelled as soon as
their answer has begun: from there to the result, in milliseconds and in decoder passes of the same answer, the way over
DDS included. Writes build/benchmarks/goals.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from vlm_perception_msgs.action import Detect
from vlm_perception_msgs.srv import DetectAt

from benchmarks.paced_camera import benchmark_domain, child
from benchmarks.report import print_table, write_json

TIMEOUT_S = 300.0
NAME = "/vlm_perception"
PROMPT = "all objects"


class Program:
    """Asks the node, and waits for each answer."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._detect = ActionClient(node, Detect, f"{NAME}/detect")
        self._at = node.create_client(DetectAt, f"{NAME}/detect_at")
        self._once = node.create_client(Trigger, f"{NAME}/detect_once")
        self.image, self._stamp = Image(), Time()
        node.create_subscription(Image, "/image", lambda image: setattr(self, "image", image), 1)
        self.ways: dict[str, Callable[[], str]] = {
            "~/detect_once, the next image": self.once,
            "~/detect, an image of its own": lambda: self.detect(Detect.Goal(prompt=PROMPT, image=self.image)),
            "~/detect, the next image": self.next,
            "~/detect_at, the image of the answer before": self.at,
        }

    def wait(self, done: Future) -> Any:
        """Wait for an answer."""
        rclpy.spin_until_future_complete(self._node, done, timeout_sec=TIMEOUT_S)
        if not done.done():
            raise SystemExit(f"no answer within {TIMEOUT_S:g} s")
        return done.result()

    def ready(self) -> None:
        """Wait until the node answers."""
        ends_s = time.monotonic() + TIMEOUT_S
        while not (self._detect.server_is_ready() and self._at.service_is_ready() and self.image.height and self._up()):
            if time.monotonic() > ends_s:
                raise SystemExit("the node or the camera did not come up: see the log above")
            rclpy.spin_once(self._node, timeout_sec=0.1)

    def once(self) -> str:
        """Ask for one answer to the standing prompt."""
        said = self.wait(self._once.call_async(Trigger.Request()))
        if not said.success:
            raise SystemExit(said.message)
        return str(said.message)

    def detect(self, goal: Detect.Goal) -> str:
        """Send a goal; return the answer's JSON."""
        handle = self.wait(self._detect.send_goal_async(goal))
        if not handle.accepted:
            raise SystemExit("a goal was refused: see the node's log above")
        result = self.wait(handle.get_result_async()).result
        if result.problem:
            raise SystemExit(result.problem)
        self._stamp = result.answer.detections.header.stamp
        return str(result.answer.json)

    def cancel(self) -> tuple[float, float] | None:
        """Cancel a goal once it is being answered.

        Returns:
            Seconds to the result, and those of one decoder pass; None where the answer was whole before.
        """
        cancelled_s: list[float] = []
        handles: list[ClientGoalHandle] = []

        def on_feedback(message: Any) -> None:
            if message.feedback.stage == Detect.Feedback.ANSWERING and handles and not cancelled_s:
                cancelled_s.append(time.monotonic())
                handles[0].cancel_goal_async()

        goal = Detect.Goal(prompt=PROMPT, image=self.image)
        handles.append(self.wait(self._detect.send_goal_async(goal, feedback_callback=on_feedback)))
        ended = self.wait(handles[0].get_result_async())
        ended_s = time.monotonic()
        if ended.status != GoalStatus.STATUS_CANCELED or not ended.result.answer.json:
            return None
        answer = json.loads(ended.result.answer.json)
        return ended_s - cancelled_s[0], answer["timings"]["generate_s"] / max(1, answer["passes"])

    def next(self) -> str:
        """Ask about the next image of the camera."""
        return self.detect(Detect.Goal(prompt=PROMPT))

    def at(self) -> str:
        """Ask about the image of the answer before."""
        request = DetectAt.Request(prompt=PROMPT, stamp=self._stamp)
        said = self.wait(self._at.call_async(request))
        if not said.success:
            raise SystemExit(said.message)
        return str(said.answer.json)

    def _up(self) -> bool:
        return bool(self.wait(self._once.call_async(Trigger.Request())).success)


def measure(ask: Callable[[], str], count: int, before: Callable[[], object]) -> dict[str, float]:
    """Ask again and again, `before` each what is not measured; milliseconds."""
    around, model = [], []
    for _ in range(count):
        before()
        began_s = time.monotonic()
        timings = json.loads(ask())["timings"]
        model_s = timings["preprocess_s"] + timings["generate_s"] + timings["decode_s"]
        around.append(1e3 * (time.monotonic() - began_s - model_s))
        model.append(1e3 * model_s)
    return {
        "model p50 ms": round(float(np.percentile(model, 50)), 1),
        "around p50 ms": round(float(np.percentile(around, 50)), 1),
        "around p95 ms": round(float(np.percentile(around, 95)), 1),
    }


def measure_cancel(program: Program, count: int) -> dict[str, float]:
    """Cancel goals until so many were in the middle of their answer."""
    took_s, passes = [], []
    while len(took_s) < count:
        if (cancelled := program.cancel()) is not None:
            took_s.append(cancelled[0])
            passes.append(cancelled[0] / cancelled[1])
    return {
        "cancel to result p50 ms": round(1e3 * float(np.percentile(took_s, 50)), 1),
        "p95 ms": round(1e3 * float(np.percentile(took_s, 95)), 1),
        "p50 passes": round(float(np.percentile(passes, 50)), 1),
        "p95 passes": round(float(np.percentile(passes, 95)), 1),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30, help="answers of each kind")
    args = parser.parse_args()
    command = ["-m", "vlm_perception.ros.node", "--ros-args", "--log-level", "warn", "-p", "model:=tiny"]
    command += ["-p", "device:=cpu", "-p", f"prompt:={PROMPT}", "-p", "frame_policy:=on_demand"]
    with benchmark_domain(), child("-m", "benchmarks.paced_camera"), child(*command):
        node = rclpy.create_node("goals_benchmark")
        program = Program(node)
        program.ready()
        # Its image is kept then, and not for long.
        before = {program.at: program.next}
        rows = [
            {"asked by": name, **measure(ask, args.count, before.get(ask, lambda: None))}
            for name, ask in program.ways.items()
        ]
        cancelled = measure_cancel(program, args.count)
        node.destroy_node()
    print_table(rows)
    print_table([cancelled])
    write_json("goals", {"count": args.count, "rows": rows, "cancelled": cancelled})


if __name__ == "__main__":
    main()
