"""No camera starves: the real worker, a clock moved by the engine as it answers, and any rates and weights."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_perception.engines.base import EngineState, OnText, ShouldStop, ignore_text
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Frame, FrameHeader, Request, Result, Timings
from vlm_perception.worker.listener import Deliver
from vlm_perception.worker.worker import Worker

PATIENCE_S = 30.0
STEP_S = 0.01


@dataclass(frozen=True)
class Camera:
    """Sends a frame every `period_s`, between `from_s` and `until_s`."""

    period_s: float
    from_s: float = 0.0
    until_s: float = 1e9


class Simulation:
    """Time passes only while the engine answers; then the cameras send, and ages are taken."""

    name = "scripted"

    def __init__(self, cameras: Sequence[Camera], weights: Sequence[float], costs_s: Sequence[float], end_s: float):
        self.cameras = {f"/{number}": camera for number, camera in enumerate(cameras)}
        self.costs_s = dict(zip(self.cameras, costs_s, strict=True))
        self.now_s, self.end_s = 0.0, end_s
        self.over = threading.Event()
        self.answered_s = {name: camera.from_s for name, camera in self.cameras.items()}
        self.age_sums_s: Counter[str] = Counter()
        self.samples: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.frames: Counter[tuple[str, int]] = Counter()
        limits = Settings.from_mapping({"max_rate_hz": 1000.0, "max_age_s": 3600.0})
        self.worker = Worker(self, limits, self, lambda: self.now_s)
        self.worker.set_cameras(dict(zip(self.cameras, weights, strict=True)))
        self.worker.set_prompts((build_prompt("cup"),))

    def run(self) -> Simulation:
        self._send(0.0)
        self.worker.start()
        assert self.over.wait(PATIENCE_S)
        assert self.worker.stop(PATIENCE_S)
        return self

    @property
    def ages_s(self) -> Mapping[str, float]:
        return {name: self.age_sums_s[name] / self.samples[name] for name in self.cameras}

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        until_s = self.now_s + self.costs_s[request.frame.camera]
        while self.now_s < until_s:
            before_s, self.now_s = self.now_s, self.now_s + STEP_S
            self._send(before_s)
            for name, camera in self.cameras.items():
                if camera.from_s <= self.now_s < camera.until_s:
                    self.age_sums_s[name] += self.now_s - self.answered_s[name]
                    self.samples[name] += 1
        if self.now_s >= self.end_s:
            self.over.set()
            self.worker.set_prompts(())
        return self.blank_answer(request)

    def _send(self, since_s: float) -> None:
        for name, camera in self.cameras.items():
            due = int(self.now_s / camera.period_s) > int(since_s / camera.period_s) or self.now_s == 0.0
            if due and camera.from_s <= self.now_s < camera.until_s:
                frame = Frame(np.zeros((28, 28, 3), np.uint8), FrameHeader(0, 0, ""), name, self.now_s)
                self.worker.offer(PendingFrame(name, self.now_s, lambda frame=frame: frame))

    def on_result(self, result: Result, deliver: Deliver) -> None:
        frame = result.request.frame
        self.served[frame.camera] += 1
        self.answered_s[frame.camera] = frame.received_s
        self.frames[frame.camera, round(frame.received_s / STEP_S)] += 1
        deliver(lambda: None)

    def load(self) -> None: ...

    def close(self) -> None: ...

    def describe(self) -> dict[str, str]:
        return {}

    def blank_answer(self, request: Request) -> Answer:
        return Answer("[]", (28, 28), "absolute", "stop", (), Timings(0.0, 0.0, 0.0))

    def on_partial(self, result: Result, deliver: Deliver) -> None: ...

    def on_state(self, state: EngineState, detail: str) -> None: ...

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None: ...

    def on_out_of_memory(self, text: str) -> None: ...

    def on_more_pixels(self, text: str) -> None: ...


@settings(max_examples=30)
@given(
    # Frames come faster than the model answers (0.1 to 0.2 s), at rates of their own.
    cameras=st.lists(st.tuples(st.floats(0.02, 0.1), st.floats(0.1, 0.2)), min_size=2, max_size=8),
)
def test_at_equal_weights_the_worst_age_is_at_most_twice_the_mean(cameras: list[tuple[float, float]]) -> None:
    periods_s, costs_s = zip(*cameras, strict=True)
    s = Simulation([Camera(period_s) for period_s in periods_s], [1.0] * len(cameras), costs_s, end_s=40.0).run()
    ages_s = list(s.ages_s.values())
    assert max(ages_s) <= 2 * sum(ages_s) / len(ages_s)
    assert max(s.served.values()) - min(s.served.values()) <= 1
    assert max(s.frames.values()) == 1, "never twice"


@settings(max_examples=30)
@given(weights=st.lists(st.floats(0.25, 4.0), min_size=2, max_size=6))
def test_weights_are_shares_of_answers(weights: list[float]) -> None:
    s = Simulation([Camera(0.03)] * len(weights), weights, [0.1] * len(weights), end_s=30.0).run()
    answers = sum(s.served.values())
    for name, weight in zip(s.cameras, weights, strict=True):
        share = weight / sum(weights)
        assert s.served[name] == pytest.approx(answers * share, abs=2 + len(weights) * share)


def test_a_slow_camera_gets_every_frame_answered_and_costs_the_others_no_more() -> None:
    s = Simulation([Camera(1.0), Camera(0.03), Camera(0.03)], [1.0] * 3, [0.1] * 3, end_s=30.0).run()
    assert s.served["/0"] >= 29
    assert abs(s.served["/1"] - s.served["/2"]) <= 1


def test_cameras_that_die_and_come_live_harm_nobody() -> None:
    cameras = [Camera(0.03, until_s=20.0), Camera(0.03), Camera(0.03, from_s=20.0)]
    s = Simulation(cameras, [1.0] * 3, [0.1] * 3, end_s=40.0).run()
    assert s.served["/1"] == pytest.approx(sum(s.served.values()) / 2, abs=2)
    ages_s = list(s.ages_s.values())
    assert max(ages_s) <= 2 * sum(ages_s) / len(ages_s)
