"""A worker around an engine, frames for it, and everything that it reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from manual_clock import ManualClock
from numpy.typing import NDArray
from scripted_engine import PATIENCE_S

from vlm_perception.engines.base import Engine, EngineState
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.prompts.standing import parse_prompts
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.scheduling.rate import Clock
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, FrameHeader, Result
from vlm_perception.worker.listener import Deliver
from vlm_perception.worker.tracking import Tracking
from vlm_perception.worker.worker import Worker

BLACK = np.zeros((28, 28, 3), np.uint8)


def pending_frame(
    camera: str, number: int, received_s: float, failure: Exception | None = None, rgb: NDArray[np.uint8] = BLACK
) -> PendingFrame:
    """A frame with its number for a stamp; reading it raises `failure`."""

    def read() -> Frame:
        if failure:
            raise failure
        return Frame(rgb, FrameHeader(number, 0, camera), camera, received_s)

    return PendingFrame(camera, received_s, read, number * 10**9)


class WorkerBench:
    """The worker's listener too: a test may put functions of its own in the place of `on_...`.

    Attributes:
        drops: Cause and error of each.
        warnings: What was said when memory ran out.
        news: What was said when there were more pixels again.
    """

    def __init__(
        self,
        engine: Engine,
        cameras: Sequence[str] = "a",
        prompts: str = "cup",
        clock: Clock = time.monotonic,
        rgb: NDArray[np.uint8] = BLACK,
        following: Tracking | None = None,
        **settings: object,
    ) -> None:
        self.engine, self.clock, self.rgb = engine, clock, rgb
        self.results: list[Result] = []
        self.asked: list[Frame] = []
        self.partials: list[Result] = []
        self.drops: list[tuple[str, Exception | None]] = []
        self.states: list[tuple[EngineState, str]] = []
        self.warnings: list[str] = []
        self.news: list[str] = []
        self._changed = threading.Condition()
        self._settings = {"max_rate_hz": 1000.0, "max_age_s": 60.0, **settings}
        self.worker = Worker(engine, Settings.from_mapping(self._settings), self, clock, following)
        self.worker.set_cameras(dict.fromkeys(cameras, 1.0))
        self.ask(prompts)

    def apply(self, **changed: object) -> None:
        self.worker.apply(Settings.from_mapping({**self._settings, **changed}))

    def ask(self, prompts: str) -> bool:
        return self.worker.set_prompts(parse_prompts(prompts, build_prompt))

    def start(self) -> None:
        told = len(self.states)
        self.worker.start()
        self.wait(lambda: any(state in (EngineState.READY, EngineState.FAILED) for state, _ in self.states[told:]))

    def offer(self, number: int, camera: str = "a", age_s: float = 0.0, failure: Exception | None = None) -> None:
        self.worker.offer(pending_frame(camera, number, self.clock() - age_s, failure, self.rgb))

    def show(self, number: int = 0, camera: str = "a") -> None:
        """Hand in a frame and wait until it was answered or dropped."""
        if isinstance(self.clock, ManualClock):
            self.clock.wait(0.01)  # past the rate gate
        done = len(self.results) + len(self.drops)
        self.offer(number, camera)
        self.wait(lambda: len(self.results) + len(self.drops) > done)

    def wait(self, predicate: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(predicate, PATIENCE_S), (self.states, self.drops, len(self.results))

    @property
    def causes(self) -> list[str]:
        return [cause for cause, _ in self.drops]

    @property
    def answered(self) -> list[tuple[str, int, str]]:
        """Camera, number of the frame and id of the prompt of each result."""
        requests = [result.request for result in self.results]
        return [(r.frame.camera, r.frame.header.stamp_sec, r.prompt.id) for r in requests]

    def on_state(self, state: EngineState, detail: str) -> None:
        self._note(self.states, (state, detail))

    def on_result(self, result: Result, deliver: Deliver) -> None:
        deliver(lambda: self._note(self.results, result))

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        deliver(lambda: self._note(self.partials, result))

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        self._note(self.drops, (cause, error))

    def on_asked(self, frame: Frame) -> None:
        self._note(self.asked, frame)

    def on_out_of_memory(self, text: str) -> None:
        self._note(self.warnings, text)

    def on_more_pixels(self, text: str) -> None:
        self._note(self.news, text)

    def _note(self, notes: list, note: object) -> None:
        with self._changed:
            notes.append(note)
            self._changed.notify_all()
