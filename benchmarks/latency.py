"""From image arrival to published answer, in the real node over real DDS: `python -m benchmarks.latency`.

Starts the drawn camera and the node as processes of their own, asks for all objects and reads the
times that the node publishes with each answer. `outside generate` is everything but the model's
generation: waiting, pixels, resize and patches, parsing, scoring, messages. Prints the median of
each run, and the node's peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rclpy
from std_msgs.msg import String

from vlm_perception.startup.arguments import DEMO_DEFAULTS, plan_processes

READY_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """Medians over the answers of one run; times in milliseconds."""

    answers: int
    latency_ms: float
    latency_p95_ms: float
    generate_ms: float
    preprocess_ms: float
    outside_generate_ms: float
    answers_per_s: float
    peak_memory_mb: float


def measure(answers: int, model: str) -> Run:
    """Start camera and node anew and time a number of answers, after three to warm up."""
    values = {**DEMO_DEFAULTS, "model": model, "prompt": "all objects", "max_rate_hz": "1000", "log_level": "warn"}
    plans = [plan for plan in plan_processes(values) if plan.executable != "rviz2"]
    processes = {plan.executable: subprocess.Popen(plan.command()) for plan in plans}
    timings: list[dict[str, float]] = []
    arrivals_s: list[float] = []

    def on_answer(message: String) -> None:
        fields: dict[str, Any] = json.loads(message.data)
        timings.append(fields["timings"])
        arrivals_s.append(time.monotonic())

    node = rclpy.create_node("latency_benchmark")
    node.create_subscription(String, "/vlm_perception/answer", on_answer, 50)
    deadline_s = time.monotonic() + READY_TIMEOUT_S + 5.0 * answers
    try:
        while len(timings) < answers + 3:
            if time.monotonic() > deadline_s:
                raise SystemExit(f"only {len(timings)} answers came: see the node's log above")
            rclpy.spin_once(node, timeout_sec=0.1)
        peak_mb = _peak_memory_mb(processes["vlm_perception_node"].pid)
    finally:
        node.destroy_node()
        for process in processes.values():
            process.send_signal(signal.SIGINT)
        for process in processes.values():
            process.wait(20)
    return _summary(timings[3:], arrivals_s[3:], peak_mb)


def _summary(timings: list[dict[str, float]], arrivals_s: list[float], peak_mb: float) -> Run:
    latency = sorted(1e3 * t["latency_s"] for t in timings)
    return Run(
        answers=len(timings),
        latency_ms=round(statistics.median(latency), 1),
        latency_p95_ms=round(latency[int(0.95 * (len(latency) - 1))], 1),
        generate_ms=round(statistics.median(1e3 * t["generate_s"] for t in timings), 1),
        preprocess_ms=round(statistics.median(1e3 * t["preprocess_s"] for t in timings), 1),
        outside_generate_ms=round(statistics.median(1e3 * (t["latency_s"] - t["generate_s"]) for t in timings), 1),
        answers_per_s=round((len(arrivals_s) - 1) / (arrivals_s[-1] - arrivals_s[0]), 2),
        peak_memory_mb=round(peak_mb, 0),
    )


def _peak_memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) / 1024 if found else 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(args=[])
    try:
        runs = [asdict(measure(args.answers, args.model)) for _ in range(args.runs)]
    finally:
        rclpy.try_shutdown()
    columns = list(runs[0])
    print("| run | " + " | ".join(columns) + " |\n| --- |" + " --- |" * len(columns))
    for number, run in enumerate(runs, start=1):
        print(f"| {number} | " + " | ".join(str(run[c]) for c in columns) + " |")
    median = {c: statistics.median(run[c] for run in runs) for c in columns}
    print("| median | " + " | ".join(str(round(median[c], 2)) for c in columns) + " |")
    output = Path("build/benchmarks/latency.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"runs": runs, "median": median}, indent=2) + "\n")


if __name__ == "__main__":
    main()
