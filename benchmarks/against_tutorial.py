"""This node against the straightforward script (`tutorial_node.py`): `python -m benchmarks.against_tutorial`.

Both get the same 30 Hz 1280x720 images of a moving scene, the same checkpoint and the same question, in turns,
each in a process of its own; both publish the answer and the annotated image. Printed is what a robot feels: the age
of the answer when it is published (its image stamp to the moment it is heard, one clock), answers a second, and
decoder passes an answer. The medians of the runs go to build/benchmarks/against_tutorial.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String

from benchmarks.paced_camera import benchmark_domain, child
from benchmarks.report import print_table, write_json
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.startup.arguments import resolve_model

PROMPT = "all objects"
READY_TIMEOUT_S = 180.0


class Listener:
    """Hears the answers of one node."""

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self.heard: list[dict[str, Any]] = []
        self._subscriptions = [
            node.create_subscription(String, f"/{name}/answer", self._on_answer, 50),
            # Somebody looks, so both have to draw.
            node.create_subscription(Image, f"/{name}/annotated_image", lambda _: None, 1),
        ]

    def _on_answer(self, message: String) -> None:
        said = json.loads(message.data)
        taken_s = said["stamp"]["sec"] + said["stamp"]["nanosec"] * 1e-9
        objects = said["objects"] if isinstance(said["objects"], int) else len(said["objects"])
        age_s = self._node.get_clock().now().nanoseconds * 1e-9 - taken_s
        self.heard.append({"age_s": age_s, "passes": said["passes"], "objects": objects})

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def listen(self, seconds: float) -> None:
        """Spin for this long."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            rclpy.spin_once(self._node, timeout_sec=0.1)


def measure(
    node: Node, name: str, process: AbstractContextManager[Any], warm_up_s: float, seconds: float
) -> dict[str, Any]:
    """Run one node and describe its answers."""
    listener = Listener(node, name)
    with process:
        until_s = time.monotonic() + READY_TIMEOUT_S
        while not listener.heard:
            listener.listen(1.0)
            if time.monotonic() > until_s:
                raise SystemExit(f"{name} did not answer within {READY_TIMEOUT_S} s: see its log above")
        listener.listen(warm_up_s)
        listener.heard.clear()
        listener.listen(seconds)
    listener.close()
    ages_s = [said["age_s"] for said in listener.heard]
    return {
        "age_p50_s": round(float(np.percentile(ages_s, 50)), 3),
        "age_p95_s": round(float(np.percentile(ages_s, 95)), 3),
        "answers_per_s": round(len(ages_s) / seconds, 2),
        "passes_per_answer": round(statistics.mean(said["passes"] for said in listener.heard), 1),
        "objects": statistics.mean(said["objects"] for said in listener.heard),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured in each run, after a warm-up")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds")
    parser.add_argument("--model", default=resolve_model("tiny"))
    args = parser.parse_args()
    ours = ["-m", "vlm_perception.ros.node", "--ros-args", "--log-level", "error", "-p", f"model:={args.model}"]
    ours += ["-p", f"prompt:={PROMPT}", "-p", "max_rate_hz:=1000.0"]
    theirs = ["-m", "benchmarks.tutorial_node", "--model", args.model]
    theirs += ["--instruction", build_prompt(PROMPT).instruction]
    runs: dict[str, list[dict[str, Any]]] = {"tutorial": [], "vlm_perception": []}
    with benchmark_domain(), child("-m", "benchmarks.paced_camera"):
        node = rclpy.create_node("against_tutorial")
        for _ in range(args.runs):
            for name, command in (("tutorial", theirs), ("vlm_perception", ours)):
                runs[name].append(measure(node, name, child(*command), args.warm_up, args.seconds))
        node.destroy_node()
    rows = {name: {key: round(statistics.median(r[key] for r in of), 3) for key in of[0]} for name, of in runs.items()}
    tutorial, product = rows["tutorial"], rows["vlm_perception"]
    ratio = {key: round(product[key] / tutorial[key], 3) if tutorial[key] else None for key in product}
    print_table([{"node": name, **row} for name, row in (*rows.items(), ("ratio", ratio))])
    write_json("against_tutorial", {"median": rows, "ratio": ratio, "runs": runs})


if __name__ == "__main__":
    main()
