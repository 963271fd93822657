"""What is published with each frame while answers are late: the last answer, its boxes moved on, or ours."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from supervision import box_iou_batch

from benchmarks.tracks.detector import PROMPT, Arrival
from benchmarks.tracks.films import Shot, TrueBox
from vlm_perception.types import WH, XYXY, Result
from vlm_perception.world.tracker import CatchUp, Tracker

LOST_AFTER_S = 2.0
Published = list[tuple[str, XYXY]]


def iou_of(true: Sequence[XYXY], found: Sequence[XYXY]) -> NDArray[np.float64]:
    """IoU of every pair, (len(true), len(found))."""
    if not true or not found:
        return np.zeros((len(true), len(found)))
    alike = box_iou_batch(np.array(true, np.float64), np.array(found, np.float64))
    return np.asarray(np.nan_to_num(alike), np.float64)


class Method(Protocol):
    """One way to have boxes for every frame."""

    def answer(self, arrival: Arrival) -> None:
        """Take an answer."""

    def frame(self, shot: Shot) -> Published:
        """Tell ids and boxes to publish with a frame."""


def _tracker() -> Tracker:
    tracker = Tracker(itertools.count(1), LOST_AFTER_S)
    tracker.set_prompts([PROMPT])
    return tracker


def _boxes(result: Result) -> Published:
    return [(thing.id, thing.xyxy) for thing in result.objects if thing.xyxy is not None]


class Hold:
    """The last answer's boxes where they were, with the ids that the tracker gives without frames."""

    def __init__(self) -> None:
        self._tracker = _tracker()
        self.named: Published = []
        self.identify_ms: list[float] = []

    def answer(self, arrival: Arrival) -> None:
        """See `Method.answer`."""
        began_s = time.thread_time()
        named = self._tracker.identify(arrival.result)
        self.identify_ms.append(1e3 * (time.thread_time() - began_s))
        self.named = _boxes(named)

    def frame(self, shot: Shot) -> Published:
        """See `Method.frame`."""
        return self.named


class Velocity:
    """The last answer's boxes, each moved on as it moved and grew between its last two sightings."""

    def __init__(self) -> None:
        self._tracker = _tracker()
        self._last: dict[str, tuple[float, XYXY]] = {}
        self._before: dict[str, tuple[float, XYXY]] = {}
        self._ids: list[str] = []

    def answer(self, arrival: Arrival) -> None:
        """See `Method.answer`."""
        asked_s = arrival.result.request.frame.received_s
        self._ids = []
        for thing in self._tracker.identify(arrival.result).objects:
            if thing.xyxy is not None:
                self._ids.append(thing.id)
                if thing.id in self._last:
                    self._before[thing.id] = self._last[thing.id]
                self._last[thing.id] = (asked_s, thing.xyxy)

    def frame(self, shot: Shot) -> Published:
        """See `Method.frame`."""
        return [(each, self._moved(each, shot.frame.received_s)) for each in self._ids]

    def _moved(self, each: str, now_s: float) -> XYXY:
        last_s, last = self._last[each]
        if each not in self._before:
            return last
        before_s, before = self._before[each]
        share = (now_s - last_s) / (last_s - before_s)
        left, top, right, bottom = (b + share * (b - a) for a, b in zip(before, last, strict=True))
        return left, top, max(right, left + 1.0), max(bottom, top + 1.0)


class Best:
    """What following can reach at most: the boxes of answers, moved and scaled as the things truly did.

    What turns, or is covered, has another box in the end, which no answer told.
    """

    def __init__(self) -> None:
        self._told: dict[int, tuple[TrueBox, XYXY]] = {}

    def answer(self, arrival: Arrival) -> None:
        """See `Method.answer`."""
        found = [thing.xyxy for thing in arrival.result.objects if thing.xyxy is not None]
        alike = iou_of([true.xyxy for true in arrival.truth], found)
        for row, column in zip(*linear_sum_assignment(alike, maximize=True), strict=True):
            if alike[row, column] > 0.5:
                self._told[arrival.truth[row].id] = (arrival.truth[row], found[column])

    def frame(self, shot: Shot) -> Published:
        """See `Method.frame`."""
        return [(str(true.id), self._moved(true, shot.frame.image_wh)) for true in shot.truth if true.id in self._told]

    def _moved(self, now: TrueBox, image_wh: WH) -> XYXY:
        then, box = self._told[now.id]
        corners = np.reshape(box, (2, 2)) - then.centre_xy
        (left, top), (right, bottom) = np.clip(corners * (now.size / then.size) + now.centre_xy, 0.0, image_wh)
        return float(left), float(top), float(right), float(bottom)


class Ours:
    """The product's tracker, with its catch-ups beside the frames.

    Args:
        step_s: How long one step of a catch-up is taken to last, so that runs are alike on every machine; what steps
            really took is in `step_ms`.
    """

    def __init__(self, step_s: float) -> None:
        self._tracker = _tracker()
        self._step_s = step_s
        self._waiting: deque[tuple[float, Result]] = deque()
        self._running: CatchUp | None = None
        self._busy_until_s = 0.0
        self._took_ms = 0.0
        self.named: Published = []
        self.identify_ms: list[float] = []
        self.advance_ms: list[float] = []
        self.step_ms: list[float] = []
        self.catch_up_ms: list[float] = []

    def answer(self, arrival: Arrival) -> None:
        """See `Method.answer`."""
        self._catch_up(arrival.at_s)
        began_s = time.thread_time()
        named = self._tracker.identify(arrival.result)
        self.identify_ms.append(1e3 * (time.thread_time() - began_s))
        self.named = _boxes(named)
        self._waiting.append((arrival.at_s, named))

    def frame(self, shot: Shot) -> Published:
        """See `Method.frame`."""
        self._catch_up(shot.frame.received_s)
        began_s = time.thread_time()
        tracks = self._tracker.advance(shot.frame).tracks
        self.advance_ms.append(1e3 * (time.thread_time() - began_s))
        return [(track.object.id, track.object.xyxy) for track in tracks if track.object.xyxy is not None]

    def _catch_up(self, now_s: float) -> None:
        """Do as much beside the frames as fits until this moment of the film."""
        while True:
            if self._running is None:
                if not self._waiting or self._waiting[0][0] > now_s:
                    return
                at_s, result = self._waiting.popleft()
                self._running = self._tracker.start_catch_up(result)
                self._busy_until_s, self._took_ms = max(at_s, self._busy_until_s), 0.0
                continue
            if self._busy_until_s + self._step_s > now_s:
                return
            self._busy_until_s += self._step_s
            began_s = time.thread_time()
            more = self._running.step()
            self.step_ms.append(1e3 * (time.thread_time() - began_s))
            self._took_ms += self.step_ms[-1]
            if not more:
                began_s = time.thread_time()
                self._tracker.finish_catch_up(self._running)
                self.catch_up_ms.append(self._took_ms + 1e3 * (time.thread_time() - began_s))
                self._running = None
