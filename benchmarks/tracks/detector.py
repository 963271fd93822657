"""Detectors that answer late, one question at a time as a model is asked: one made of the truth, and the tiny model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import vlm_perception as vp
from benchmarks.tracks.films import Shot, TrueBox
from vlm_perception.engines.base import Engine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Answer, DetectedObject, Frame, Request, Result, Timings

PROMPT = build_prompt("all objects")
_NOISE_PX = 2.0
_MISSED = 0.05
_FALSE = 0.01
# When in a frame's time answers come and questions are asked: not at the moment in which frames come.
_PHASE_S = 0.005

Look = Callable[[Shot], Result]


def result_of(frame: Frame, objects: tuple[DetectedObject, ...]) -> Result:
    """Make an answer about a frame."""
    answer = Answer("", (1, 1), "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
    return Result(Request(frame, PROMPT), answer, objects, (), "", len(objects))


@dataclass(frozen=True, slots=True)
class Arrival:
    """An answer, when it comes, seconds of the film, and the truth of the frame that it is about."""

    at_s: float
    result: Result
    truth: tuple[TrueBox, ...]


class Late:
    """Answers about the newest frame with a delay; the next question is asked when the answer is there.

    Args:
        delay_s: From question to answer.
        look: What is answered about a frame.
    """

    def __init__(self, delay_s: float, look: Look) -> None:
        self._delay_s = delay_s
        self._look = look
        self._pending: Arrival | None = None
        self._newest: Shot | None = None

    def until(self, now_s: float) -> list[Arrival]:
        """Answers that come before the frame of this moment."""
        came = []
        while self._pending is not None and self._pending.at_s < now_s and self._newest is not None:
            came.append(self._pending)
            self._ask(self._newest, self._pending.at_s)
        return came

    def see(self, shot: Shot) -> None:
        """Take a new frame."""
        self._newest = shot
        if self._pending is None:
            self._ask(shot, shot.frame.received_s + _PHASE_S)

    def _ask(self, shot: Shot, now_s: float) -> None:
        self._pending = Arrival(now_s + self._delay_s, self._look(shot), shot.truth)


class NoisyTruth:
    """Sees what is there, 2 px off; misses one thing in twenty, and sees one in a hundred that is not there."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, shot: Shot) -> Result:
        """Look at a frame."""
        rng, (width, height) = self._rng, shot.frame.image_wh
        objects = []
        for true in shot.truth:
            if rng.random() < _MISSED:
                continue
            off = np.array(true.xyxy) + rng.normal(0.0, _NOISE_PX, 4)
            left, right = np.clip(off[[0, 2]], 0.0, width)
            top, bottom = np.clip(off[[1, 3]], 0.0, height)
            if right - left > 1.0 and bottom - top > 1.0:
                box = (float(left), float(top), float(right), float(bottom))
                objects.append(DetectedObject(true.label, box, None, score=float(rng.uniform(0.5, 1.0))))
        for _ in range(rng.binomial(len(shot.truth), _FALSE)):
            w, h = rng.uniform(0.05, 0.16, 2) * width
            x, y = rng.uniform(0.0, width - w), rng.uniform(0.0, height - h)
            label = shot.truth[int(rng.integers(len(shot.truth)))].label
            box = (float(x), float(y), float(x + w), float(y + h))
            objects.append(DetectedObject(label, box, None, score=float(rng.uniform(0.3, 0.7))))
        return result_of(shot.frame, tuple(objects))


class TinyModel:
    """The checkpoint that ships, asked as the node asks it; what it takes for that is not its delay here."""

    def __init__(self) -> None:
        self._engine: Engine = vp.open_engine("tiny", device="cpu")

    def __call__(self, shot: Shot) -> Result:
        """Look at a frame."""
        return vp.perceive(self._engine, Request(shot.frame, PROMPT))
