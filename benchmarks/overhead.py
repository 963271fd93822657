"""Where the time goes outside the model: `python -m benchmarks.overhead`.

A camera in a process of its own publishes 30 Hz 1280x720 images. Here they are received over DDS, answered by the
worker with the real model, and published, with a clock at every seam. `outside` is all that comes between the image
message and the published detections but the waiting for the model and its passes; resizing and patchifying are part of
it. `outside_engine` leaves those two out, because they are done within `Engine.answer`. The last table is the delay
from the camera's stamp to the callback, while the model generates and while it does not: the difference is what the
model costs the camera.

Medians over all answers go to build/benchmarks/overhead.json. Torch uses one thread, so one core is busy.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import defaultdict
from typing import Any

import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from benchmarks.paced_camera import benchmark_domain, child
from benchmarks.report import print_table, write_json
from vlm_perception.drawing.annotate import annotate
from vlm_perception.engines.base import EngineState, OnText, ShouldStop, ignore_text
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.ros.image_messages import image_message, pending_frame
from vlm_perception.ros.outputs.result_messages import answer_json, detections_message, header_message
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Answer, Frame, Request, Result, Token
from vlm_perception.worker.listener import Deliver
from vlm_perception.worker.worker import Worker

CAMERA = "/image"
STAGES = ("receive", "convert", "prepare", "wait", "prefill", "decode", "parse", "publish", "draw")
SUMS = ("outside", "outside_engine")


class Clocks:
    """Collects milliseconds by stage."""

    def __init__(self) -> None:
        self.samples_ms: dict[str, list[float]] = defaultdict(list)

    def add(self, stage: str, seconds: float) -> None:
        """Note one duration."""
        self.samples_ms[stage].append(1e3 * seconds)

    def percentile_ms(self, stage: str, percent: float) -> float:
        """Return a percentile of a stage."""
        return round(float(np.percentile(self.samples_ms[stage], percent)), 3)


class ClockedEngine:
    """The real engine; notes its own time, without that of the reader that reads along."""

    def __init__(self, engine: TransformersEngine, clocks: Clocks) -> None:
        self._engine, self._clocks = engine, clocks
        self.name = engine.name
        self.began_s = self.ended_s = self.reading_s = 0.0
        self.load, self.describe, self.close = engine.load, engine.describe, engine.close
        self.blank_answer = engine.blank_answer

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`."""
        self.began_s, self.reading_s = time.perf_counter(), 0.0

        def read(chunk: str, tokens: tuple[Token, ...]) -> None:
            began_s = time.perf_counter()
            on_text(chunk, tokens)
            self.reading_s += time.perf_counter() - began_s

        answer = self._engine.answer(request, should_stop, read)
        self.ended_s = time.perf_counter()
        timings = answer.timings
        self._clocks.add("prepare", timings.preprocess_s)
        self._clocks.add("prefill", timings.prefill_s)
        self._clocks.add("decode", timings.generate_s - timings.prefill_s - self.reading_s)
        return answer


class DataPath:
    """One camera, one worker, the publishers: the node's data path with a clock at every seam."""

    def __init__(self, node: Any, engine: TransformersEngine) -> None:
        self.clocks, self.delays_ms = Clocks(), list[float]()
        self._node = node
        self._engine = ClockedEngine(engine, self.clocks)
        self._read: tuple[float, float, float] = (0.0, 0.0, 0.0)
        settings = Settings(max_rate_hz=1000.0)
        self.worker = Worker(self._engine, settings, self)
        self.worker.set_cameras({CAMERA: 1.0})
        self.answered = threading.Semaphore(0)
        self._detections = node.create_publisher(Detection2DArray, "detections", 10)
        self._answer = node.create_publisher(String, "answer", 10)
        self._picture = node.create_publisher(Image, "annotated_image", 1)
        node.create_subscription(Image, CAMERA, self._on_image, 1)

    def _on_image(self, message: Image) -> None:
        received_s = time.monotonic()
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        delay_s = time.time() - stamp_s
        self.delays_ms.append(1e3 * delay_s)
        plain = pending_frame(message, CAMERA, received_s)
        offered_s = time.perf_counter()

        def read() -> Any:
            began_s = time.perf_counter()
            frame = plain.read()
            self._read = (delay_s, began_s - offered_s, time.perf_counter() - began_s)
            return frame

        self.worker.offer(PendingFrame(CAMERA, received_s, read))

    def on_state(self, state: EngineState, detail: str) -> None:
        """See `WorkerListener`."""

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """See `WorkerListener`."""
        if error is not None:
            raise error

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""

    def on_asked(self, frame: Frame) -> None:
        """See `WorkerListener`."""

    def on_out_of_memory(self, text: str) -> None:
        """See `WorkerListener`; it would spoil the run."""
        raise SystemExit(text)

    def on_more_pixels(self, text: str) -> None:
        """See `WorkerListener`; never without the other."""

    def on_result(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        told_s = time.perf_counter()
        self._detections.publish(detections_message(result))
        self._answer.publish(String(data=answer_json(result, 0.0, 0.0)))
        published_s = time.perf_counter()
        self._picture.publish(
            image_message(annotate(result.request.frame.rgb, result), header_message(result.request.frame.header))
        )
        drawn_s = time.perf_counter()
        receive_s, wait_s, convert_s = self._read
        parse_s = told_s - self._engine.ended_s + self._engine.reading_s
        clocks = self.clocks
        for stage, seconds in (("receive", receive_s), ("convert", convert_s), ("wait", wait_s), ("parse", parse_s)):
            clocks.add(stage, seconds)
        clocks.add("publish", published_s - told_s)
        clocks.add("draw", drawn_s - published_s)
        prepare_s = clocks.samples_ms["prepare"][-1] / 1e3
        clocks.add("outside", convert_s + prepare_s + parse_s + published_s - told_s)
        clocks.add("outside_engine", convert_s + parse_s + published_s - told_s)
        self.answered.release()


def delays_for(path: DataPath, seconds: float) -> dict[str, float]:
    """Watch the callback for some time; milliseconds."""
    path.delays_ms.clear()
    time.sleep(seconds)
    delays = list(path.delays_ms)
    return {
        "p50_ms": round(float(np.percentile(delays, 50)), 2),
        "p99_ms": round(float(np.percentile(delays, 99)), 2),
        "images": len(delays),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="for each of the two parts")
    parser.add_argument("--model", default=resolve_model("tiny"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    with benchmark_domain(), child("-m", "benchmarks.paced_camera"):
        node = rclpy.create_node("overhead")
        path = DataPath(node, open_engine(args.model))
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spinning = threading.Thread(target=executor.spin, daemon=True)
        spinning.start()
        path.worker.start()
        while not path.delays_ms or path.worker.state is not EngineState.READY:
            time.sleep(0.1)
        idle = delays_for(path, args.seconds)
        path.worker.set_prompts((build_prompt("all objects"),))
        for _ in range(5):
            path.answered.acquire()
        path.clocks.samples_ms.clear()
        busy = delays_for(path, args.seconds)
        path.worker.stop()
        executor.shutdown()
        node.destroy_node()
    rows = {
        stage: {"p50_ms": path.clocks.percentile_ms(stage, 50), "p95_ms": path.clocks.percentile_ms(stage, 95)}
        for stage in (*STAGES, *SUMS)
    }
    print_table([{"stage": stage, **row} for stage, row in rows.items()])
    print("\nThe camera's callback after the stamp:\n")
    print_table([{"model": "idle", **idle}, {"model": "generating", **busy}])
    print(f"\nthe model delays the callback by {busy['p99_ms'] - idle['p99_ms']:.1f} ms at the 99th percentile")
    answers = len(path.clocks.samples_ms["outside"])
    found = {"answers": answers, "stages": rows, "callback": {"idle": idle, "generating": busy}}
    write_json("overhead", found)


if __name__ == "__main__":
    main()
