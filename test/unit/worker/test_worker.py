"""The worker's rules, with an engine that is told when to answer, and events instead of sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vlm_perception.engines.base import EngineState, OnText, ShouldStop, ignore_text
from vlm_perception.errors import (
    DetectOnceError,
    DeviceLostError,
    GeometryError,
    ImageError,
    InferenceError,
    ModelLoadError,
)
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Frame, FrameHeader, Request, Result, Timings
from vlm_perception.worker.listener import Deliver
from vlm_perception.worker.worker import Worker

PATIENCE_S = 30.0


FIRST = '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}'


class GatedEngine:
    """Writes one object; to end the list needs a permit, and waiting for it can be aborted."""

    name = "gated"

    def __init__(self, permits: int = 0, failure: Exception | None = None, load_failure: Exception | None = None):
        self.permits = threading.Semaphore(permits)
        self.asked: list[Request] = []
        self.changed = threading.Condition()
        self.failure, self.load_failure = failure, load_failure
        self.closed = False
        self.deaf = False

    def load(self) -> None:
        if self.load_failure:
            raise self.load_failure

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        with self.changed:
            self.asked.append(request)
            self.changed.notify_all()
        on_text(FIRST, ())
        aborted = False
        while not aborted and not self.permits.acquire(timeout=0.005):
            aborted = should_stop() and not self.deaf
        if self.failure:
            raise self.failure
        if aborted:
            return replace(self.blank_answer(request), text=FIRST, finish_reason="aborted")
        on_text(', {"point_2d": [5, 6], "label": "b"}', ())
        on_text("]", ())
        return replace(self.blank_answer(request), text=FIRST + ', {"point_2d": [5, 6], "label": "b"}]')

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", request.frame.image_wh, "absolute", "stop", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self.closed = True


class Recorder:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.results: list[Result] = []
        self.partials: list[Result] = []
        self.drops: list[tuple[str, Exception | None]] = []
        self.states: list[EngineState] = []
        self.before_delivery: Callable[[], None] = lambda: None

    def on_state(self, state: EngineState, detail: str) -> None:
        with self.changed:
            self.states.append(state)
            self.detail = detail
            self.changed.notify_all()

    def on_result(self, result: Result, deliver: Deliver) -> None:
        self.before_delivery()
        deliver(lambda: self._keep(result))

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        deliver(lambda: self._keep(result))

    def _keep(self, result: Result) -> None:
        with self.changed:
            (self.partials if result.partial else self.results).append(result)
            self.changed.notify_all()

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        with self.changed:
            self.drops.append((cause, error))
            self.changed.notify_all()

    @property
    def causes(self) -> list[str]:
        return [cause for cause, _ in self.drops]

    def wait(self, predicate: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(predicate, PATIENCE_S), (self.states, self.drops, len(self.results))


class Bench:
    def __init__(self, engine: GatedEngine, **settings: object) -> None:
        self.engine, self.recorder = engine, Recorder()
        self.worker = Worker(engine, Settings.from_mapping({"max_rate_hz": 1000.0, **settings}), self.recorder)
        self.worker.set_cameras({"/image": 1.0})

    def start(self) -> Bench:
        self.worker.start()
        self.recorder.wait(lambda: self.worker.state in (EngineState.READY, EngineState.FAILED))
        return self

    def offer(self, number: int, age_s: float = 0.0, failure: Exception | None = None) -> None:
        received_s = time.monotonic() - age_s

        def read() -> Frame:
            if failure:
                raise failure
            return Frame(np.zeros((28, 28, 3), np.uint8), FrameHeader(number, 0, "cam"), "/image", received_s)

        self.worker.offer(PendingFrame("/image", received_s, read))

    def wait_asked(self, count: int) -> None:
        with self.engine.changed:
            assert self.engine.changed.wait_for(lambda: len(self.engine.asked) >= count, PATIENCE_S)

    @property
    def answered(self) -> list[tuple[int, str]]:
        done = self.recorder.results
        return [(r.request.frame.header.stamp_sec, r.request.prompt.text) for r in done]


@pytest.fixture
def bench():
    made: list[Bench] = []

    def make(engine: GatedEngine | None = None, **settings: object) -> Bench:
        made.append(Bench(engine or GatedEngine(), **settings))
        return made[-1]

    yield make
    for each in made:
        assert each.worker.stop(PATIENCE_S)


def test_only_the_newest_frame_is_answered_and_each_once(bench):
    b = bench().start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.wait_asked(1)
    for number in (2, 3, 4):
        b.offer(number)
    b.engine.permits.release(2)
    b.recorder.wait(lambda: len(b.answered) == 2)
    assert b.answered == [(1, "red cup"), (4, "red cup")]
    assert b.recorder.causes == ["replaced", "replaced"]
    b.engine.permits.release(5)
    b.offer(5)
    b.recorder.wait(lambda: len(b.answered) == 3)
    assert [r.frame.header.stamp_sec for r in b.engine.asked] == [1, 4, 5]


def test_a_new_prompt_aborts_the_answer_and_nothing_old_is_delivered(bench):
    b = bench().start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.wait_asked(1)
    assert b.worker.set_prompts((build_prompt("blue cup"),))
    b.recorder.wait(lambda: "prompt_changed" in b.recorder.causes)
    b.engine.permits.release()
    b.offer(2)
    b.recorder.wait(lambda: bool(b.answered))
    assert b.answered == [(2, "blue cup")]


def test_a_finished_answer_is_not_delivered_if_the_prompt_changes_at_the_last_moment(bench):
    b = bench(GatedEngine(permits=1)).start()
    b.recorder.before_delivery = lambda: b.worker.set_prompts(())
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.recorder.wait(lambda: bool(b.recorder.drops))
    assert (b.answered, b.recorder.causes) == ([], ["prompt_changed"])


def test_the_same_prompt_again_disturbs_nothing(bench):
    b = bench().start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.wait_asked(1)
    assert b.worker.set_prompts((build_prompt("red cup"),)) is False
    b.engine.permits.release()
    b.recorder.wait(lambda: bool(b.answered))
    assert b.answered == [(1, "red cup")]


def test_without_a_prompt_nothing_is_asked_and_frames_are_counted(bench):
    b = bench(GatedEngine(permits=9)).start()
    b.offer(1)
    b.offer(2)
    assert b.recorder.causes == ["no_prompt"]
    b.worker.set_prompts((build_prompt("red cup"),))
    b.recorder.wait(lambda: bool(b.answered))
    assert b.answered == [(2, "red cup")]


def test_an_old_frame_is_stale(bench):
    b = bench(GatedEngine(permits=9), max_age_s=0.5).start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1, age_s=0.6)
    b.recorder.wait(lambda: b.recorder.causes == ["stale"])
    b.offer(2)
    b.recorder.wait(lambda: bool(b.answered))
    assert b.answered == [(2, "red cup")]


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (ImageError("cut off", cause="truncated"), "truncated"),
        (GeometryError("too narrow"), "bad_geometry"),
        (ValueError("a bug"), "internal_error"),
    ],
)
def test_a_bad_frame_is_counted_and_the_next_one_answered(bench, failure, cause):
    b = bench(GatedEngine(permits=9)).start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1, failure=failure)
    b.recorder.wait(lambda: b.recorder.drops == [(cause, failure)])
    b.offer(2)
    b.recorder.wait(lambda: bool(b.answered))


@pytest.mark.parametrize(
    ("failure", "cause"), [(InferenceError("boom"), "inference_error"), (RuntimeError("boom"), "internal_error")]
)
def test_a_failing_engine_is_counted_and_asked_again(bench, failure, cause):
    b = bench(GatedEngine(permits=9, failure=failure)).start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.recorder.wait(lambda: b.recorder.drops == [(cause, failure)])
    b.engine.failure = None
    b.offer(2)
    b.recorder.wait(lambda: bool(b.answered))


@pytest.mark.parametrize(
    ("failure", "detail"),
    [(ModelLoadError("no such folder"), "no such folder"), (OSError("disk"), "OSError: disk")],
)
def test_a_model_that_cannot_be_loaded_is_reported_once(bench, failure, detail):
    b = bench(GatedEngine(load_failure=failure)).start()
    assert b.recorder.states == [EngineState.LOADING, EngineState.FAILED]
    assert b.recorder.detail == detail
    b.offer(1)
    b.offer(2)
    assert b.recorder.causes == ["not_ready"]


def test_the_rate_is_kept_but_a_new_prompt_is_answered_at_once(bench):
    b = bench(GatedEngine(permits=9), max_rate_hz=0.01, max_age_s=3600.0).start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.recorder.wait(lambda: len(b.answered) == 1)
    b.offer(2)
    b.offer(3)
    assert b.recorder.causes == ["replaced"], "the gate is shut for 100 s, so frame 2 cannot have been taken"
    b.worker.set_prompts((build_prompt("blue cup"),))
    b.recorder.wait(lambda: len(b.answered) == 2)
    assert b.answered == [(1, "red cup"), (3, "blue cup")]


def test_new_limits_reach_the_next_request(bench):
    b = bench(GatedEngine(permits=9)).start()
    b.worker.apply(Settings.from_mapping({"max_rate_hz": 1000.0, "max_new_tokens": 7, "max_pixels": 60000}))
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.wait_asked(1)
    assert (b.engine.asked[0].max_new_tokens, b.engine.asked[0].budget.max_pixels) == (7, 60000)


def test_stopping_in_mid_answer_ends_the_thread_and_closes_the_engine(bench):
    b = bench().start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.wait_asked(1)
    assert b.worker.stop(PATIENCE_S)
    assert b.engine.closed
    assert (b.answered, b.worker.state) == ([], EngineState.STOPPED)


def test_a_worker_that_never_started_can_be_stopped(bench):
    assert bench().worker.stop(0.0)


def test_a_worker_starts_again_after_a_stop_and_answers(bench):
    b = bench(GatedEngine(permits=9)).start()
    b.worker.set_prompts((build_prompt("red cup"),))
    for number in (1, 2):
        b.engine.closed = False
        b.offer(number)
        b.recorder.wait(lambda n=number: len(b.answered) == n)
        assert b.worker.stop(PATIENCE_S)
        assert b.engine.closed
        b.offer(9)
        assert b.recorder.causes == ["stopped"] * number, "what comes meanwhile is counted"
        b.start()
    b.offer(3)
    b.recorder.wait(lambda: [stamp for stamp, _ in b.answered] == [1, 2, 3])


def test_a_model_that_cannot_be_loaded_can_be_tried_again(bench):
    b = bench(GatedEngine(permits=9, load_failure=ModelLoadError("no such folder"))).start()
    assert (b.worker.state, b.recorder.detail, b.engine.closed) == (EngineState.FAILED, "no such folder", True)
    b.engine.load_failure = None
    b.worker.set_prompts((build_prompt("red cup"),))
    b.worker.start()
    b.recorder.wait(lambda: b.worker.state is EngineState.READY)
    b.offer(1)
    b.recorder.wait(lambda: b.answered == [(1, "red cup")])


def test_an_inactive_worker_aborts_answers_nothing_and_keeps_the_model(bench):
    b = bench().start()
    b.worker.set_prompts((build_prompt("red cup"),))
    b.offer(1)
    b.wait_asked(1)
    waiting = b.worker.detect_once()
    b.worker.deactivate()
    b.recorder.wait(lambda: b.recorder.causes == ["inactive"])
    b.offer(2)
    assert b.recorder.causes == ["inactive"] * 2
    with pytest.raises(DetectOnceError, match="not active: wait"):
        waiting.result(PATIENCE_S)
    b.worker.pause()
    b.worker.activate()
    b.offer(3)
    assert b.recorder.causes[-1] == "paused", "a pause goes on beside it"
    b.worker.resume()
    b.engine.permits.release(9)
    b.offer(4)
    b.recorder.wait(lambda: b.answered == [(4, "red cup")])
    assert (b.engine.closed, b.recorder.states.count(EngineState.LOADING)) == (False, 1)


def test_nobody_waits_for_an_answer_of_a_model_that_is_not_loaded(bench):
    b = bench(GatedEngine(permits=9)).start()
    b.worker.set_prompts((build_prompt("red cup"),))
    assert b.worker.stop(PATIENCE_S)
    with pytest.raises(DetectOnceError, match="configure and activate"):
        b.worker.detect_once().result(PATIENCE_S)


def test_parts_are_delivered_before_the_whole_when_asked_for(bench):
    b = bench(publish_partial=True).start()
    b.worker.set_prompts((build_prompt("all objects"),))
    b.offer(1)
    b.recorder.wait(lambda: bool(b.recorder.partials))
    assert b.answered == []
    b.engine.permits.release()
    b.recorder.wait(lambda: bool(b.answered))
    assert [[found.label for found in part.objects] for part in b.recorder.partials] == [["a"], ["a", "b"]]
    assert [found.label for found in b.recorder.results[0].objects] == ["a", "b"]
    assert b.recorder.drops == []


def test_parts_are_not_delivered_unless_asked_for_and_the_change_reaches_the_next_frame(bench):
    b = bench(GatedEngine(permits=9)).start()
    b.worker.set_prompts((build_prompt("all objects"),))
    b.offer(1)
    b.recorder.wait(lambda: len(b.answered) == 1)
    assert b.recorder.partials == []
    b.worker.apply(Settings.from_mapping({"max_rate_hz": 1000.0, "publish_partial": True}))
    b.offer(2)
    b.recorder.wait(lambda: len(b.answered) == 2)
    assert [part.request.frame.header.stamp_sec for part in b.recorder.partials] == [2, 2]


def test_no_part_of_an_old_answer_is_delivered_after_a_new_prompt(bench):
    """The engine goes on writing objects although it was told to stop."""
    b = bench(publish_partial=True).start()
    b.engine.deaf = True
    b.worker.set_prompts((build_prompt("all objects"),))
    b.offer(1)
    b.recorder.wait(lambda: bool(b.recorder.partials))
    b.worker.set_prompts((build_prompt("blue cup"),))
    b.engine.permits.release(9)
    b.recorder.wait(lambda: bool(b.recorder.drops))
    assert b.recorder.causes == ["prompt_changed"], "a frame of which a part went out was not answered"
    b.offer(2)
    b.recorder.wait(lambda: bool(b.answered))
    assert b.answered == [(2, "blue cup")]
    assert [part.request.prompt.text for part in b.recorder.partials] == ["all objects", "blue cup", "blue cup"]


def test_a_listener_that_fails_costs_one_frame(bench):
    b = bench(GatedEngine(permits=9), publish_partial=True).start()
    failure = OSError("the middleware is gone")

    def fail(result: Result, deliver: Deliver) -> None:
        raise failure

    b.recorder.on_partial = fail
    b.worker.set_prompts((build_prompt("all objects"),))
    b.offer(1)
    b.recorder.wait(lambda: b.recorder.drops == [("internal_error", failure)])
    del b.recorder.on_partial
    b.offer(2)
    b.recorder.wait(lambda: b.answered == [(2, "all objects")])


@pytest.mark.parametrize(
    ("failure", "max_failures", "ends_after"),
    [
        (InferenceError("a kernel failed"), 3, 3),
        (ValueError("a bug"), 2, 2),
        (DeviceLostError("the GPU is lost"), 20, 1),
        (DeviceLostError("the GPU is lost"), 0, 1),
        (InferenceError("a kernel failed"), 0, None),
        (GeometryError("too long"), 1, None),
    ],
)
def test_a_model_that_fails_again_and_again_or_has_no_device_has_failed(bench, failure, max_failures, ends_after):
    b = bench(GatedEngine(permits=99, failure=failure), max_failures=max_failures).start()
    b.worker.set_prompts((build_prompt("cup"),))
    for number in range(1, (ends_after or 5) + 1):
        assert b.worker.state is EngineState.READY
        b.offer(number)
        b.recorder.wait(lambda n=number: len(b.recorder.drops) == n)
    if ends_after is None:
        assert b.worker.state is EngineState.READY
        return
    b.recorder.wait(lambda: b.worker.state is EngineState.FAILED)
    assert b.engine.closed
    assert str(failure) in b.recorder.detail
    with pytest.raises(DetectOnceError, match="the model cannot be used: "):
        b.worker.detect_once().result(PATIENCE_S)


def test_a_good_answer_forgives_the_failures_before_it(bench):
    b = bench(GatedEngine(permits=99), max_failures=2).start()
    b.worker.set_prompts((build_prompt("cup"),))
    for number, failure in enumerate([InferenceError("once"), None] * 4, 1):
        b.engine.failure = failure
        b.offer(number)
        b.recorder.wait(lambda n=number: len(b.recorder.drops) + len(b.recorder.results) == n)
    assert b.worker.state is EngineState.READY
