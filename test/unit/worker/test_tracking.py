"""Frames and answers on the tracker's thread: frames first, and answers come to their end all the same."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from results import answer_about
from scripted_engine import ScriptedEngine
from worker_bench import WorkerBench

from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.types import DetectedObject, Frame, FrameHeader, Prompt, Result, Task
from vlm_perception.worker.tracking import Tracking
from vlm_perception.world.tracks import Tracks

PATIENCE_S = 60.0
PROMPT = Prompt("cup", Task.DETECT, "cup")
CUP = DetectedObject("cup", (40.0, 30.0, 80.0, 70.0), None)
RGB = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)


def frame(number: int) -> Frame:
    return Frame(RGB, FrameHeader(number, 0, "camera"), "/image", number / 30)


def pending(number: int, read: Callable[[], Frame] | None = None) -> PendingFrame:
    return PendingFrame("/image", number / 30, read or (lambda: frame(number)))


def answer(number: int) -> Result:
    return answer_about(frame(number), CUP, prompt=PROMPT)


class Looker:
    """Wants every frame; told what it does with each by `on_frame`."""

    def __init__(self) -> None:
        self.on_frame: Callable[[Tracks], None] = lambda tracks: None
        self.changed, self.told, self.failures = threading.Condition(), list[Tracks](), list[Exception]()

    def wants_tracks(self, camera: str) -> bool:
        return True

    def on_tracks(self, frame: Frame, tracks: Tracks, prompts, deliver, is_newest: bool) -> None:
        with self.changed:
            deliver(lambda: self.told.append(tracks))
            self.changed.notify_all()
        self.on_frame(tracks)

    def on_tracking_failure(self, camera: str, error: Exception) -> None:
        with self.changed:
            self.failures.append(error)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)


@pytest.fixture
def looker() -> Looker:
    return Looker()


@pytest.fixture
def tracking(looker: Looker) -> Iterator[Tracking]:
    made = Tracking(Settings(tracking="camera_rate"), looker)
    made.follow((PROMPT,), ("/image",), active=True, halted=False)
    yield made
    assert made.stop(PATIENCE_S)


def test_an_answer_is_caught_up_although_frames_never_stop_waiting(tracking: Tracking, looker: Looker) -> None:
    numbers = itertools.count(2)

    def more(tracks: Tracks) -> None:
        number = next(numbers)
        tracking.offer(pending(number))
        if number == 10:
            tracking.identify(answer(2))

    # There is always one that waits while another is carried.
    looker.on_frame = more
    for number in (0, 1):
        tracking.offer(pending(number))
    looker.wait_for(lambda: looker.told and looker.told[-1].tracks)
    looker.on_frame = lambda tracks: None
    assert [each.header.stamp_sec for each in looker.told] == list(range(len(looker.told)))
    assert looker.told[-1].tracks[0].object.id == "1"


def test_an_answer_that_comes_before_its_frame_was_carried_waits_for_it(tracking: Tracking, looker: Looker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Frame:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return frame(0)

    tracking.offer(pending(0, slow))
    assert begun.wait(PATIENCE_S)
    tracking.offer(pending(1))
    tracking.identify(answer(1))
    go_on.set()
    looker.wait_for(lambda: len(looker.told) == 2)
    tracking.offer(pending(2))
    looker.wait_for(lambda: len(looker.told) == 3)
    assert tracking.report().not_kept == 0


def test_the_engine_is_told_how_far_things_have_come(looker: Looker) -> None:
    engine = ScriptedEngine('[{"bbox_2d": [40, 30, 80, 70], "label": "cup"}]')
    settings = {"tracking": "camera_rate"}
    b = WorkerBench(engine, "a", rgb=RGB, following=Tracking(Settings(tracking="camera_rate"), looker), **settings)
    b.start()
    b.show(0)
    looker.wait_for(lambda: looker.told)
    shown = itertools.count(1)

    def show_until_followed() -> bool:
        b.show(next(shown))
        return bool(looker.told[-1].tracks and engine.requests[-1].moves)

    deadline_s = time.monotonic() + PATIENCE_S
    while not show_until_followed():
        assert time.monotonic() < deadline_s
    b.worker.stop()
    (move,) = engine.requests[-1].moves
    assert move.from_xy == (60.0, 50.0)
    assert move.to_xy == pytest.approx(move.from_xy, abs=0.5)


def test_a_frame_that_cannot_be_read_ends_nothing(tracking: Tracking, looker: Looker) -> None:
    def broken() -> Frame:
        raise MemoryError("no room")

    tracking.offer(pending(0, broken))
    looker.wait_for(lambda: looker.failures)
    tracking.offer(pending(1))
    looker.wait_for(lambda: looker.told)


def test_what_waits_too_long_is_left_out_and_counted(tracking: Tracking, looker: Looker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Frame:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return frame(0)

    tracking.offer(pending(0, slow))
    assert begun.wait(PATIENCE_S)
    for number in range(1, 14):
        tracking.offer(pending(number))
    go_on.set()
    looker.wait_for(lambda: looker.told and looker.told[-1].header.stamp_sec == 13)
    assert [each.header.stamp_sec for each in looker.told] == [0, *range(4, 14)]
    assert tracking.report().skipped == 3


def test_nothing_is_told_after_a_pause_or_a_change_has_returned(tracking: Tracking, looker: Looker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> Frame:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return frame(0)

    tracking.offer(pending(0, slow))
    assert begun.wait(PATIENCE_S)
    tracking.follow((PROMPT,), ("/image",), active=True, halted=True)
    go_on.set()
    tracking.follow((PROMPT,), ("/image",), active=True, halted=False)
    tracking.follow((PROMPT,), (), active=True, halted=False)
    tracking.follow((PROMPT,), ("/image",), active=True, halted=False)
    tracking.offer(pending(1))
    looker.wait_for(lambda: looker.told and looker.told[-1].header.stamp_sec == 1)
    # The camera went and came, so that frame 0 is of another one.
    assert [each.header.stamp_sec for each in looker.told] == [1]
