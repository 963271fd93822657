"""Shares and ages of several cameras on one model: `python -m benchmarks.fairness`.

The real worker with the tiny model; a thread plays the cameras. A camera's age is the time since
the arrival of its newest answered frame, averaged over the run; the worst camera's is divided by
the mean of all.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.report import write_json
from vlm_perception.engines.base import EngineState
from vlm_perception.engines.factory import open_engine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import random_scene, render
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, FrameHeader, Result
from vlm_perception.worker.listener import Deliver
from vlm_perception.worker.worker import Worker

SAMPLE_S = 0.02
IMAGE_WHS = ((320, 240), (640, 480), (480, 360), (400, 300))
# name -> rate in Hz and weight of each camera
CASES: dict[str, Sequence[tuple[float, float]]] = {
    "2 equal": [(30.0, 1.0)] * 2,
    "4 equal": [(30.0, 1.0)] * 4,
    "8 equal": [(30.0, 1.0)] * 8,
    "4 weighted 4:2:1:1": [(30.0, 4.0), (30.0, 2.0), (30.0, 1.0), (30.0, 1.0)],
    "4 at 30, 15, 10, 1 Hz": [(30.0, 1.0), (15.0, 1.0), (10.0, 1.0), (1.0, 1.0)],
}


@dataclass(frozen=True, slots=True)
class Row:
    """One case; ages in seconds."""

    case: str
    answers_per_s: float
    shares: list[float]
    mean_age_s: float
    worst_age_s: float
    worst_to_mean: float


class Listener:
    """Notes what was answered."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.answers: Counter[str] = Counter()
        self.answered_s: dict[str, float] = {}

    def on_state(self, state: EngineState, detail: str) -> None:
        """See `WorkerListener`."""
        if state is EngineState.FAILED:
            raise SystemExit(detail)
        if state is EngineState.READY:
            self.ready.set()

    def on_result(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        frame = result.request.frame
        self.answers[frame.camera] += 1
        self.answered_s[frame.camera] = frame.received_s

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`; not asked for."""

    def on_asked(self, frame: Frame) -> None:
        """See `WorkerListener`."""

    def on_out_of_memory(self, text: str) -> None:
        """See `WorkerListener`; it would spoil the run."""
        raise SystemExit(text)

    def on_more_pixels(self, text: str) -> None:
        """See `WorkerListener`; never without the other."""

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """See `WorkerListener`; a frame that fails would spoil the run."""
        if error is not None:
            raise error


def measure(case: str, duration_s: float) -> Row:
    """Let the cameras of a case send for a while."""
    names = [f"/{number}" for number in range(len(CASES[case]))]
    listener = Listener()
    limits = Settings.from_mapping({"max_rate_hz": 1000.0, "max_age_s": 60.0})
    worker = Worker(open_engine(device="cpu"), limits, listener)
    worker.set_cameras({name: weight for name, (_, weight) in zip(names, CASES[case], strict=True)})
    worker.set_prompts((build_prompt("all objects"),))
    pictures = {name: _picture(number) for number, name in enumerate(names)}
    worker.start()
    listener.ready.wait()
    ages_s: dict[str, list[float]] = {name: [] for name in names}
    due_s = dict.fromkeys(names, time.monotonic())
    end_s = time.monotonic() + duration_s
    while (now_s := time.monotonic()) < end_s:
        for name, (rate_hz, _) in zip(names, CASES[case], strict=True):
            if now_s >= due_s[name]:
                due_s[name] += 1.0 / rate_hz
                frame = Frame(pictures[name], FrameHeader(0, 0, name), name, now_s)
                worker.offer(PendingFrame(name, now_s, lambda frame=frame: frame))
        if len(listener.answered_s) == len(names):
            for name in names:
                ages_s[name].append(now_s - listener.answered_s[name])
        time.sleep(SAMPLE_S)
    worker.stop(30.0)
    total = sum(listener.answers.values())
    means_s = [float(np.mean(ages_s[name])) for name in names]
    mean_s, worst_s = float(np.mean(means_s)), max(means_s)
    shares = [round(listener.answers[name] / total, 3) for name in names]
    return Row(case, round(total / duration_s, 2), shares, round(mean_s, 3), round(worst_s, 3), worst_s / mean_s)


def _picture(number: int) -> np.ndarray:
    image_wh = IMAGE_WHS[number % len(IMAGE_WHS)]
    return render(random_scene(np.random.default_rng(number), image_wh, 1 + number % 3), image_wh).rgb


def main() -> None:
    """Measure all cases, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each case runs")
    seconds = parser.parse_args().seconds
    print("| cameras | answers/s | shares | mean age s | worst age s | worst / mean |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for case in CASES:
        row = measure(case, seconds)
        rows.append(asdict(row))
        shares = ", ".join(f"{share:.0%}" for share in row.shares)
        ages = f"{row.mean_age_s:.2f} | {row.worst_age_s:.2f} | {row.worst_to_mean:.2f}"
        print(f"| {case} | {row.answers_per_s:.1f} | {shares} | {ages} |", flush=True)
    write_json("fairness", rows)


if __name__ == "__main__":
    main()
