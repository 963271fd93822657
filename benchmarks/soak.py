"""Does the node hold out? `python -m benchmarks.soak --minutes 30`.

The real node, as a process of its own, looks at 30 Hz 1280x720 images with depth while the prompt changes every few
seconds, and tracks and places are listened to. Its resident memory, threads and open files are sampled from /proc, and
the age of its answers; after a warm-up none of them may grow. Prints the slopes (Theil-Sen: the median of the slopes
between samples, so that single outliers do not count), writes build/benchmarks/soak.json and exits with 1 when
something certainly grows.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray, Detection3DArray

from benchmarks.paced_camera import benchmark_domain, child
from benchmarks.report import print_table, write_json
from vlm_perception.startup.arguments import resolve_model

PROMPTS = (
    "all objects",
    "red circle",
    "how many circles are there?",
    "every cart",
    "describe the image",
    "blue square",
)
READY_TIMEOUT_S = 180.0
SAMPLE_S = 1.0
WARM_UP_SHARE = 0.25
# What is still no growth: the allocator's own breathing, and a robot's day.
MOST_MB_PER_HOUR = 60.0
MOST_AGE_S_PER_HOUR = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The node at one moment; `at_s` counts from the start, `age_s` is the newest answer's when it was heard."""

    at_s: float
    rss_mb: float
    threads: int
    files: int
    answers: int
    age_s: float


def sample(pid: int, at_s: float, answers: int, age_s: float) -> Sample:
    """Read a process's counters."""
    process = psutil.Process(pid)
    with process.oneshot():
        resident_mb = process.memory_info().rss / 1e6
        return Sample(at_s, resident_mb, process.num_threads(), process.num_fds(), answers, age_s)


def slope_per_hour(times_s: list[float], values: list[float]) -> float:
    """Return the Theil-Sen slope in units per hour; 0 for fewer than two samples."""
    step = max(1, len(times_s) // 300)
    points = list(zip(times_s[::step], values[::step], strict=True))
    slopes = [(v - u) / (t - s) for (s, u), (t, v) in itertools.combinations(points, 2) if t > s]
    return float(np.median(slopes)) * 3600.0 if slopes else 0.0


def verdict(samples: list[Sample]) -> dict[str, Any]:
    """Tell what grows; `leaks` names it, and is empty when nothing certainly does.

    A slope is certain when the growth over the whole time is more than the samples scatter, too.
    """
    settled = samples[int(len(samples) * WARM_UP_SHARE) :]
    times_s = [s.at_s for s in settled]
    found: dict[str, Any] = {"minutes": round(samples[-1].at_s / 60, 2), "answers": samples[-1].answers}
    leaks = []
    limits = {"rss_mb": MOST_MB_PER_HOUR, "threads": 0.0, "files": 0.0, "age_s": MOST_AGE_S_PER_HOUR}
    for name, limit in limits.items():
        values = [float(getattr(s, name)) for s in settled]
        slope = slope_per_hour(times_s, values)
        half = len(values) // 2
        grown = float(np.median(values[half:]) - np.median(values[:half]))
        scatter = float(np.std(values[:half])) if half else 0.0
        found[name] = {"first": values[0], "last": values[-1], "max": max(values), "slope_per_hour": round(slope, 3)}
        if slope > limit and grown > 2 * scatter:
            leaks.append(name)
    return {**found, "leaks": leaks}


def soak(minutes: float, prompt_s: float, model: str) -> tuple[list[Sample], dict[str, int]]:
    """Run the node and sample it, the first time after its first answer; also how many messages of what came."""
    command = ["-m", "vlm_perception.ros.node", "--ros-args", "--log-level", "error", "-p", f"model:={model}"]
    command += ["-p", f"prompt:={PROMPTS[0]}", "-p", "max_rate_hz:=1000.0"]
    command += ["-p", "depth_topics:=['/depth']"]
    ages_s: list[float] = []
    heard = Counter[str]()
    with benchmark_domain(), child("-m", "benchmarks.paced_camera", "--depth"), child(*command) as process:
        node = rclpy.create_node("soak")
        prompts = node.create_publisher(String, "/vlm_perception/prompt", 1)
        node.create_subscription(
            String, "/vlm_perception/answer", lambda m: ages_s.append(json.loads(m.data)["timings"]["age_s"]), 50
        )
        for topic, kind in (("tracks", Detection2DArray), ("detections_3d", Detection3DArray)):
            count = functools.partial(_count, heard, topic)
            node.create_subscription(kind, f"/vlm_perception/{topic}", count, 50)
        _spin_until(node, READY_TIMEOUT_S, lambda: bool(ages_s))
        if not ages_s:
            raise SystemExit(f"the node did not answer within {READY_TIMEOUT_S} s: see its log above")
        samples, began_s, turns = [], time.monotonic(), itertools.cycle(PROMPTS)
        asked_s = began_s
        while (now_s := time.monotonic()) < began_s + minutes * 60:
            samples.append(sample(process.pid, now_s - began_s, len(ages_s), ages_s[-1]))
            if now_s - asked_s > prompt_s:
                asked_s = now_s
                prompts.publish(String(data=next(turns)))
            _spin_until(node, SAMPLE_S, lambda: False)
        node.destroy_node()
    return samples, dict(heard)


def _count(heard: Counter[str], topic: str, message: Any) -> None:
    heard[topic] += 1


def _spin_until(node: Any, timeout_s: float, done: Any) -> None:
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s and not done():
        rclpy.spin_once(node, timeout_sec=0.1)


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--prompt-s", type=float, default=4.0, help="seconds between prompts")
    parser.add_argument("--model", default=resolve_model("tiny"))
    parser.add_argument("--output", type=Path, help="JSON file (default: build/benchmarks/soak.json)")
    args = parser.parse_args()
    samples, heard = soak(args.minutes, args.prompt_s, args.model)
    found = {**verdict(samples), "heard": heard}
    print(f"{found['minutes']} minutes, {found['answers']} answers, {heard}\n")
    print_table([{"what": name, **found[name]} for name in ("rss_mb", "threads", "files", "age_s")])
    print("grows: " + (", ".join(found["leaks"]) or "nothing"))
    write_json("soak", {**found, "samples": [asdict(s) for s in samples]}, args.output)
    return 1 if found["leaks"] else 0


if __name__ == "__main__":
    sys.exit(main())
