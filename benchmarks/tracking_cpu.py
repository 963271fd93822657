"""What tracking costs the node, and how old `~/tracks` is: `python -m benchmarks.tracking_cpu`.

A camera in a process of its own publishes 30 Hz 1280x720 images, with depth in some rows. The real node runs in
another, with the truth in the model's place: it costs no time of its own and comes `delay_s` late, so what the process
takes is all that the node does itself. `cpu_percent` is of one core, user and system, without the camera and whoever
listens. `delay` is from the image's stamp to the callback that hears its tracks, both ways over DDS; `share` the part
of the images that got theirs.

Prints a row for each mode and writes build/benchmarks/tracking_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray, Detection3DArray

from benchmarks.paced_camera import IMAGE_WH, RATE_HZ, SCENE_SEED, benchmark_domain, child, scene_times_s
from benchmarks.report import print_table, write_json
from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.ros.node import VlmPerceptionNode
from vlm_perception.ros.spin import run
from vlm_perception.scenes import MovingScene
from vlm_perception.types import Answer, Request, Timings

READY_TIMEOUT_S = 120.0
_STEP_S = 0.01
# Name, objects, with depth, who listens, parameters.
ROWS: tuple[tuple[str, int, bool, str, dict[str, Any]], ...] = (
    ("off", 4, False, "", {"tracking": "off"}),
    ("ids", 4, False, "", {"tracking": "ids"}),
    ("camera_rate, nobody listens", 4, False, "", {}),
    ("camera_rate", 1, False, "tracks", {}),
    ("camera_rate", 4, False, "tracks", {}),
    ("camera_rate", 12, False, "tracks", {}),
    ("camera_rate, drawn", 4, False, "annotated_image", {"annotate": "tracks"}),
    ("off, depth", 4, True, "", {"tracking": "off"}),
    ("camera_rate, depth", 4, True, "tracks", {}),
    ("camera_rate, in space", 4, True, "tracks_3d", {}),
)


class LateTruth:
    """An engine that knows what the paced camera drew, and tells it late."""

    name = "late truth"

    def __init__(self, n_objects: int, delay_s: float) -> None:
        self._n_objects, self._delay_s = n_objects, delay_s
        self._replies: dict[float, str] = {}

    def load(self) -> None:
        """See `Engine.load`: everything is drawn beforehand."""
        scene = MovingScene(SCENE_SEED, IMAGE_WH, self._n_objects)
        for time_s in sorted(set(scene_times_s())):
            truths = [truth for truth in scene.at(time_s).truths if truth.label != "shadow"]
            self._replies[time_s] = json.dumps([{"bbox_2d": t.xyxy, "label": t.label} for t in truths])

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`."""
        # The camera writes the frame's number into its first bytes.
        number = int.from_bytes(request.frame.rgb[0, :2].tobytes()[:4], "little")
        times_s, ends_s = scene_times_s(), time.monotonic() + self._delay_s
        pause = threading.Event()
        while (left_s := ends_s - time.monotonic()) > 0 and not should_stop():
            pause.wait(min(left_s, _STEP_S))
        text = self._replies[times_s[number % len(times_s)]]
        on_text(text, ())
        return Answer(text, request.frame.image_wh, "absolute", "stop", (), Timings(0.0, 0.0, self._delay_s))

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        return Answer("", request.frame.image_wh, "absolute", "unfinished", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        """See `Engine.describe`."""
        return {"device": "none", "source": "the drawn truth"}

    def close(self) -> None:
        """See `Engine.close`."""


class Listener:
    """Hears the node, and notes how old what it hears is."""

    def __init__(self, topic: str) -> None:
        self.answers, self.found = 0, 0
        self.delays_ms: list[float] = []
        self.node = rclpy.create_node("tracking_cpu")
        self.node.create_subscription(Detection2DArray, "/vlm_perception/detections", self._on_answer, 10)
        if topic:
            kinds = {"annotated_image": Image, "tracks_3d": Detection3DArray}
            kind = kinds.get(topic, Detection2DArray)
            self.node.create_subscription(kind, f"/vlm_perception/{topic}", self._on_frame, 50)

    def _on_answer(self, message: Detection2DArray) -> None:
        self.answers, self.found = self.answers + 1, len(message.detections)

    def _on_frame(self, message: Image | Detection2DArray | Detection3DArray) -> None:
        stamp = message.header.stamp
        self.delays_ms.append(1e3 * (time.time() - stamp.sec - stamp.nanosec * 1e-9))

    def spin(self, seconds: float, answers: int | None = None) -> None:
        """Listen for some time, or until so many answers came."""
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s and (answers is None or self.answers < answers):
            rclpy.spin_once(self.node, timeout_sec=0.1)


def measured(row: tuple[str, int, bool, str, dict[str, Any]], seconds: float, delay_s: float) -> dict[str, Any]:
    """Run the node in one mode."""
    name, n_objects, has_depth, topic, parameters = row
    camera = ["-m", "benchmarks.paced_camera", "--objects", str(n_objects), *(["--depth"] if has_depth else [])]
    if has_depth:
        parameters = {**parameters, "depth_topics": ["/depth"]}
    node = ["-m", "benchmarks.tracking_cpu", "--node", json.dumps(parameters)]
    node += ["--objects", str(n_objects), "--delay-s", str(delay_s)]
    with benchmark_domain(), child(*camera), child(*node) as process:
        listener = Listener(topic)
        # By then two answers were caught up and every cache is warm.
        listener.spin(READY_TIMEOUT_S, answers=3)
        if listener.answers < 3:
            raise SystemExit(f"{name}: the node did not answer within {READY_TIMEOUT_S} s: see its log above")
        listener.delays_ms.clear()
        watched = psutil.Process(process.pid)
        before, began_s = watched.cpu_times(), time.monotonic()
        listener.spin(seconds)
        after, took_s = watched.cpu_times(), time.monotonic() - began_s
        listener.node.destroy_node()
    used_s = after.user + after.system - before.user - before.system
    delays = listener.delays_ms
    return {
        "mode": name,
        "objects": listener.found,
        "cpu_percent": round(100 * used_s / took_s, 1),
        "share": round(len(delays) / (took_s * RATE_HZ), 3) if topic else None,
        "delay_p50_ms": round(float(np.percentile(delays, 50)), 1) if delays else None,
        "delay_p95_ms": round(float(np.percentile(delays, 95)), 1) if delays else None,
    }


def node_under_test(parameters: dict[str, Any], n_objects: int, delay_s: float) -> VlmPerceptionNode:
    """Make the real node, which asks for the truth all the time."""
    overrides = {"prompt": "all objects", "max_rate_hz": 100.0, **parameters}
    return VlmPerceptionNode(
        LateTruth(n_objects, delay_s),
        parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
    )


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="for each row")
    parser.add_argument("--delay-s", type=float, default=1.0, help="what the model takes")
    parser.add_argument("--only", default="", help="rows whose mode begins so")
    parser.add_argument("--node", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--objects", type=int, default=4, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="JSON file (default: build/benchmarks/tracking_cpu.json)")
    args = parser.parse_args()
    if args.node is not None:
        arguments = ["--ros-args", "--log-level", "error"]
        return run("vlm_perception", lambda: node_under_test(args.node, args.objects, args.delay_s), arguments)
    rows = [measured(row, args.seconds, args.delay_s) for row in ROWS if row[0].startswith(args.only)]
    print_table(rows)
    write_json("tracking_cpu", {"delay_s": args.delay_s, "rate_hz": RATE_HZ, "rows": rows}, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
