"""Time to the first object against time to the last, and to the whole answer: `python -m benchmarks.streaming`.

Asks for all objects of drawn scenes with 1, 4 and 12 of them, once through `perceive` and once
through the real node over real DDS (`publish_partial`), where the time runs from the moment the
image is published to the moment a message is heard. Prints the median of the scenes of each run,
and writes the median of the runs.

`decoding_share` is the first object's share of the decoding, which prefill is no part of: time from
the first token to the first object, divided by the time from the first token to the last object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.ros.image_messages import image_message
from vlm_perception.scenes import random_scene, render
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Answer, Frame, FrameHeader, PixelBudget, Request, Result, Token

SIZES = (1, 4, 12)
IMAGE_WH = (640, 480)
BUDGET = PixelBudget(224 * 224, 1024 * 1024)
MAX_NEW_TOKENS = 1024
PROMPT = "all objects"
FIRST_SEED = 70_000
READY_TIMEOUT_S = 180.0
ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Times:
    """One answer; seconds from the request. `token_s` is the first token's time, None where it is not seen."""

    objects: int
    token_s: float | None
    first_s: float
    last_s: float
    answer_s: float


class ClockedEngine:
    """An engine that notes when the first piece of text came."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine
        self.name = engine.name
        self.first_piece_s = 0.0

    def load(self) -> None:
        """See `Engine.load`."""
        self._engine.load()

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`."""
        self.first_piece_s = 0.0

        def note(chunk: str, tokens: tuple[Token, ...]) -> None:
            self.first_piece_s = self.first_piece_s or time.perf_counter()
            on_text(chunk, tokens)

        return self._engine.answer(request, should_stop, note)

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        return self._engine.blank_answer(request)

    def describe(self) -> dict[str, str]:
        """See `Engine.describe`."""
        return self._engine.describe()

    def close(self) -> None:
        """See `Engine.close`."""
        self._engine.close()


def scenes_of(n_objects: int, count: int) -> list[np.ndarray]:
    """Draw scenes that really hold that many objects; not all places fit that many."""
    pictures: list[np.ndarray] = []
    seed = FIRST_SEED
    while len(pictures) < count:
        seed += 1
        spec = random_scene(np.random.default_rng(seed), IMAGE_WH, n_objects)
        if len(spec.objects) == n_objects:
            pictures.append(render(spec, IMAGE_WH).rgb)
    return pictures


def time_perceive(engine: ClockedEngine, rgb: np.ndarray) -> Times | None:
    """Time one answer through `perceive`; None when nothing was found."""
    request = Request(
        Frame(rgb, FrameHeader(1, 0, "camera"), "/image", 0.0), build_prompt(PROMPT), BUDGET, MAX_NEW_TOKENS
    )
    told_s: list[float] = []

    def on_partial(_: Result) -> None:
        told_s.append(time.perf_counter())

    began_s = time.perf_counter()
    result = perceive(engine, request, on_partial=on_partial)
    ended_s = time.perf_counter()
    if not told_s:
        return None
    return Times(
        objects=len(result.objects),
        token_s=engine.first_piece_s - began_s,
        first_s=told_s[0] - began_s,
        last_s=told_s[-1] - began_s,
        answer_s=ended_s - began_s,
    )


class Client:
    """Shows frames to the node and hears its answers."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._camera = node.create_publisher(Image, "/image", 1)
        self._heard: list[tuple[float, dict[str, Any]]] = []
        node.create_subscription(String, "/vlm_perception/answer", self._on_answer, 50)
        self._number = 0

    def _on_answer(self, message: String) -> None:
        self._heard.append((time.perf_counter(), json.loads(message.data)))

    def ask(self, rgb: np.ndarray, timeout_s: float = ANSWER_TIMEOUT_S) -> list[tuple[float, dict[str, Any]]]:
        """Publish one frame; return each message about it with its time in seconds, the whole one last, or nothing."""
        self._number += 1
        header = Header(frame_id="camera")
        header.stamp.sec = self._number
        message = image_message(rgb, header)
        self._heard.clear()
        found_by_s = time.perf_counter() + timeout_s
        while self._camera.get_subscription_count() == 0 and time.perf_counter() < found_by_s:
            rclpy.spin_once(self._node, timeout_sec=0.1)
        began_s = time.perf_counter()
        self._camera.publish(message)
        while time.perf_counter() - began_s < timeout_s:
            rclpy.spin_once(self._node, timeout_sec=0.1)
            about = [(at_s - began_s, m) for at_s, m in self._heard if m["stamp"]["sec"] == self._number]
            if about and not about[-1][1]["partial"]:
                return about
        return []

    def time_node(self, rgb: np.ndarray) -> Times | None:
        """Time one answer end to end; None when nothing was found."""
        about = self.ask(rgb)
        parts = [at_s for at_s, message in about if message["partial"]]
        if not parts:
            return None
        return Times(len(about[-1][1]["objects"]), None, parts[0], parts[-1], about[-1][0])


@contextmanager
def running_node(model: str, warm_up: np.ndarray) -> Iterator[Client]:
    """Start the node as a process of its own and wait until it has answered a first picture."""
    values = {"model": model, "prompt": PROMPT, "publish_partial": True, "max_rate_hz": 1000.0, "max_age_s": 600.0}
    values["max_new_tokens"] = MAX_NEW_TOKENS
    arguments = [part for name, value in values.items() for part in ("-p", f"{name}:={json.dumps(value)}")]
    command = [sys.executable, "-m", "vlm_perception.ros.node", "--ros-args", "--log-level", "warn", *arguments]
    process = subprocess.Popen(command)
    node = rclpy.create_node("streaming_benchmark")
    client = Client(node)
    try:
        # A frame that comes while the model loads waits for it; one that comes while the node still
        # looks for the camera may be lost, so there is more than one attempt.
        attempts = range(round(READY_TIMEOUT_S / ANSWER_TIMEOUT_S))
        if not any(client.ask(warm_up) for _ in attempts):
            raise SystemExit(f"the node did not answer within {READY_TIMEOUT_S} s: see its log above")
        yield client
    finally:
        node.destroy_node()
        process.send_signal(signal.SIGINT)
        process.wait(20)


def run_of(time_one: Callable[[np.ndarray], Times | None], scenes: dict[int, list[np.ndarray]]) -> list[dict[str, Any]]:
    """Time all scenes once; one row a scene size, the median of its scenes."""
    rows = []
    for wanted, pictures in scenes.items():
        times = [found for found in map(time_one, pictures) if found is not None]
        if not times:
            raise SystemExit(f"the model found nothing in {len(pictures)} scenes with {wanted} objects")
        rows.append({"objects_in_scene": wanted, "answers": len(times), **_medians(times)})
    return rows


def _medians(times: list[Times]) -> dict[str, float | None]:
    decoding = [
        (t.first_s - t.token_s) / (t.last_s - t.token_s)
        for t in times
        if t.token_s is not None and t.last_s > t.token_s
    ]
    tokens_ms = [1e3 * t.token_s for t in times if t.token_s is not None]
    return {
        "objects_found": statistics.median(t.objects for t in times),
        "first_token_ms": round(statistics.median(tokens_ms), 1) if tokens_ms else None,
        "first_object_ms": round(statistics.median(1e3 * t.first_s for t in times), 1),
        "last_object_ms": round(statistics.median(1e3 * t.last_s for t in times), 1),
        "answer_ms": round(statistics.median(1e3 * t.answer_s for t in times), 1),
        "first_of_last": round(statistics.median(t.first_s / t.last_s for t in times), 3),
        "decoding_share": round(statistics.median(decoding), 3) if decoding else None,
    }


def median_rows(runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The median of the runs, row by row."""

    def middle(values: list[Any]) -> Any:
        return None if None in values else round(statistics.median(values), 3)

    return [{key: middle([row[key] for row in rows]) for key in rows[0]} for rows in zip(*runs, strict=True)]


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print one table in Markdown."""
    columns = list(rows[0])
    print(f"\n{title}\n\n| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join("-" if row[c] is None else str(row[c]) for c in columns) + " |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=6, help="scenes of each size in a run")
    parser.add_argument("--model", default=resolve_model("tiny"))
    args = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    scenes = {size: scenes_of(size, args.scenes) for size in SIZES}
    results: dict[str, Any] = {"model": args.model, "scenes_of_each_size": args.scenes}

    loaded = open_engine(args.model)
    engine = ClockedEngine(loaded)
    time_perceive(engine, scenes[1][0])
    results["perceive"] = {"runs": [run_of(lambda rgb: time_perceive(engine, rgb), scenes) for _ in range(args.runs)]}
    engine.close()

    rclpy.init(args=[])
    try:
        with running_node(args.model, scenes[1][0]) as client:
            results["node"] = {"runs": [run_of(client.time_node, scenes) for _ in range(args.runs)]}
    finally:
        rclpy.try_shutdown()
    for part, title in (("perceive", "through perceive"), ("node", "through the node, over DDS")):
        results[part]["median"] = median_rows(results[part]["runs"])
        print_table(f"{title}, median of {args.runs} runs", results[part]["median"])
    output = Path("build/benchmarks/streaming.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
