"""Several cameras and queries, pausing, single answers and batches: the worker with its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from vlm_perception.engines.base import EngineState, OnText, ShouldStop, ignore_text
from vlm_perception.errors import DetectOnceError, ImageError, InferenceError, ModelLoadError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.prompts.queries import parse_prompts
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Frame, FrameHeader, Request, Result, Timings
from vlm_perception.worker.listener import Deliver
from vlm_perception.worker.worker import Worker

PATIENCE_S = 30.0
TWO = '["cup", "mug"]'


class GatedEngine:
    """Needs a permit for each answer; waiting for it can be aborted."""

    name = "gated"

    def __init__(self, permits: int = 0, load_failure: Exception | None = None) -> None:
        self.permits = threading.Semaphore(permits)
        self.asked: list[Request] = []
        self.changed = threading.Condition()
        self.load_failure = load_failure

    def load(self) -> None:
        if self.load_failure:
            raise self.load_failure

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        with self.changed:
            self.asked.append(request)
            self.changed.notify_all()
        aborted = False
        while not aborted and not self.permits.acquire(timeout=0.005):
            aborted = should_stop()
        return replace(self.blank_answer(request), text="[]", finish_reason="aborted" if aborted else "stop")

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", request.frame.image_wh, "absolute", "stop", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


class Recorder:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.results: list[Result] = []
        self.drops: list[tuple[str, str]] = []

    def on_state(self, state: EngineState, detail: str) -> None:
        with self.changed:
            self.changed.notify_all()

    def on_result(self, result: Result, deliver: Deliver) -> None:
        deliver(lambda: self._keep(result))

    def on_partial(self, result: Result, deliver: Deliver) -> None: ...

    def _keep(self, result: Result) -> None:
        with self.changed:
            self.results.append(result)
            self.changed.notify_all()

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        with self.changed:
            self.drops.append((camera, cause))
            self.changed.notify_all()

    @property
    def causes(self) -> list[str]:
        return [cause for _, cause in self.drops]

    def wait(self, predicate: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(predicate, PATIENCE_S), (self.drops, len(self.results))


class BatchingEngine(GatedEngine):
    """Answers a batch row by row; `batches` tells how many rows each pass had."""

    def __init__(self, permits: int = 0) -> None:
        super().__init__(permits)
        self.batches: list[int] = []
        self.batch_failure: Exception | None = None
        self.bad_camera = ""

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        if request.frame.camera == self.bad_camera:
            raise InferenceError("bad row")
        return super().answer(request, should_stop, on_text)

    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText] = ()
    ) -> list[Answer]:
        self.batches.append(len(requests))
        if self.batch_failure:
            raise self.batch_failure
        return [self.answer(*row) for row in zip(requests, should_stop, on_text, strict=True)]


class Bench:
    def __init__(self, engine: GatedEngine, cameras: Sequence[str], prompts: str, **settings: object) -> None:
        self.engine, self.recorder = engine, Recorder()
        self.worker = Worker(engine, Settings.from_mapping({"max_rate_hz": 1000.0, **settings}), self.recorder)
        self.worker.set_cameras(dict.fromkeys(cameras, 1.0))
        self.worker.set_prompts(parse_prompts(prompts, build_prompt))

    def start(self) -> None:
        self.worker.start()
        self.recorder.wait(lambda: self.worker.state in (EngineState.READY, EngineState.FAILED))

    def offer(self, camera: str, number: int, failure: Exception | None = None) -> None:
        received_s = time.monotonic()

        def read() -> Frame:
            if failure:
                raise failure
            return Frame(np.zeros((28, 28, 3), np.uint8), FrameHeader(number, 0, camera), camera, received_s)

        self.worker.offer(PendingFrame(camera, received_s, read))

    def wait_asked(self, count: int) -> None:
        with self.engine.changed:
            assert self.engine.changed.wait_for(lambda: len(self.engine.asked) >= count, PATIENCE_S)

    @property
    def answered(self) -> list[tuple[str, int, str]]:
        requests = [result.request for result in self.recorder.results]
        return [(r.frame.camera, r.frame.header.stamp_sec, r.prompt.id) for r in requests]


@pytest.fixture
def bench():
    made: list[Bench] = []

    def make(engine: GatedEngine | None = None, cameras="a", prompts="cup", start=True, **settings: object) -> Bench:
        made.append(Bench(engine or GatedEngine(), cameras, prompts, **settings))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for each in made:
        assert each.worker.stop(PATIENCE_S)


def test_pausing_aborts_and_resuming_goes_on_with_a_new_frame(bench):
    b = bench()
    b.offer("a", 1)
    b.wait_asked(1)
    b.worker.pause()
    assert b.worker.paused
    b.recorder.wait(lambda: b.recorder.causes == ["paused"])
    b.offer("a", 2)
    assert b.recorder.causes == ["paused", "paused"]
    b.worker.resume()
    b.engine.permits.release()
    b.offer("a", 3)
    b.recorder.wait(lambda: b.answered == [("a", 3, "")])


def test_a_camera_that_goes_has_its_answer_aborted_and_the_others_go_on(bench):
    b = bench(cameras="ab")
    b.offer("a", 1)
    b.wait_asked(1)
    b.offer("b", 2)
    b.worker.set_cameras({"b": 1.0})
    b.recorder.wait(lambda: b.recorder.causes == ["camera_gone"])
    b.engine.permits.release()
    b.recorder.wait(lambda: b.answered == [("b", 2, "")])
    b.offer("a", 3)
    assert b.recorder.causes == ["camera_gone"] * 2


def test_a_query_that_stays_is_not_disturbed_when_another_one_goes(bench):
    b = bench(prompts=TWO)
    b.offer("a", 1)
    b.wait_asked(1)
    assert b.worker.set_prompts(b.worker.prompts[:1])
    b.engine.permits.release(9)
    b.recorder.wait(lambda: b.answered == [("a", 1, "1")])
    assert b.recorder.drops == []


def test_each_query_is_put_to_a_frame_once_and_the_answers_carry_its_id(bench):
    b = bench(GatedEngine(permits=9), prompts=TWO)
    b.offer("a", 1)
    b.recorder.wait(lambda: len(b.answered) == 2)
    assert b.answered == [("a", 1, "1"), ("a", 1, "2")]
    assert b.engine.asked[0].frame is b.engine.asked[1].frame, "the engine knows the frame again"


def test_on_demand_aborts_what_nobody_asked_for(bench):
    b = bench()
    b.offer("a", 1)
    b.wait_asked(1)
    b.worker.apply(Settings.from_mapping({"frame_policy": "on_demand"}))
    b.recorder.wait(lambda: b.recorder.causes == ["not_asked"])
    assert b.answered == []


def test_one_answer_on_demand_comes_to_who_asked_and_to_the_listener(bench):
    b = bench(GatedEngine(permits=9), frame_policy="on_demand")
    waiting = b.worker.detect_once()
    b.offer("a", 1)
    result = waiting.result(PATIENCE_S)
    assert result.request.frame.header.stamp_sec == 1
    assert b.answered == [("a", 1, "")]


def test_one_answer_waits_for_a_model_that_is_still_loading(bench):
    b = bench(GatedEngine(permits=9), start=False, frame_policy="on_demand")
    waiting = b.worker.detect_once("a")
    b.offer("a", 1)
    b.start()
    assert waiting.result(PATIENCE_S).request.frame.camera == "a"


def test_why_there_is_no_answer_is_said_at_once(bench):
    b = bench(prompts="", cameras="ab")
    refused = [(b.worker.detect_once(), "no prompt")]
    b.worker.set_prompts((build_prompt("cup"),))
    refused.append((b.worker.detect_once("c"), "no camera c; known cameras: a, b"))
    b.worker.pause()
    refused.append((b.worker.detect_once(), "paused"))
    b.worker.resume()
    later = [(b.worker.detect_once("a"), "no camera a")]
    b.worker.set_cameras({"b": 1.0})
    later.append((b.worker.detect_once(), "stopped"))
    b.worker.stop(PATIENCE_S)
    for future, reason in refused + later:
        with pytest.raises(DetectOnceError, match=reason):
            future.result(0)


def test_a_bad_frame_fails_the_request_for_one_answer_with_its_reason(bench):
    b = bench(frame_policy="on_demand")
    waiting = b.worker.detect_once()
    b.offer("a", 1, failure=ImageError("cut off", cause="truncated"))
    with pytest.raises(DetectOnceError, match="cut off"):
        waiting.result(PATIENCE_S)
    assert b.recorder.causes == ["truncated"]


def test_a_model_that_fails_to_load_fails_who_waits(bench):
    b = bench(GatedEngine(load_failure=ModelLoadError("no such folder")), start=False)
    waiting = b.worker.detect_once()
    b.start()
    with pytest.raises(DetectOnceError, match="no such folder"):
        waiting.result(PATIENCE_S)


def test_a_camera_does_not_wait_while_something_is_published(bench):
    b = bench(GatedEngine(permits=9))
    publishing, go_on = threading.Event(), threading.Event()

    def hold(result: Result, deliver: Deliver) -> None:
        deliver(lambda: bool(publishing.set() or go_on.wait(PATIENCE_S)) and None)

    b.recorder.on_result = hold
    b.offer("a", 1)
    assert publishing.wait(PATIENCE_S)
    b.offer("a", 2)
    b.offer("a", 3)
    assert b.recorder.causes == ["replaced"], "offered while the publisher is still busy"
    go_on.set()


def test_new_queries_wait_until_what_is_being_published_is_out(bench):
    b = bench(GatedEngine(permits=9))
    publishing, go_on, order = threading.Event(), threading.Event(), []

    def hold(result: Result, deliver: Deliver) -> None:
        def publish() -> None:
            publishing.set()
            go_on.wait(PATIENCE_S)
            order.append("published")

        deliver(publish)

    b.recorder.on_result = hold
    b.offer("a", 1)
    assert publishing.wait(PATIENCE_S)
    changer = threading.Thread(target=lambda: b.worker.set_prompts(()) and order.append("changed"))
    changer.start()
    go_on.set()
    changer.join(PATIENCE_S)
    assert order == ["published", "changed"]


def waiting_batch(bench, engine: BatchingEngine, max_batch: int = 8) -> Bench:
    """Two cameras with two queries each, all waiting for the first pass."""
    b = bench(engine, cameras="ab", prompts=TWO, start=False, max_batch=max_batch)
    for number, camera in enumerate("ab"):
        b.offer(camera, number)
    b.start()
    return b


def test_all_cameras_and_queries_go_in_one_pass(bench):
    engine = BatchingEngine(permits=9)
    b = waiting_batch(bench, engine)
    b.recorder.wait(lambda: len(b.answered) == 4)
    assert (engine.batches, sorted(b.answered)) == (
        [4],
        [("a", 0, "1"), ("a", 0, "2"), ("b", 1, "1"), ("b", 1, "2")],
    )


def test_one_pass_is_not_larger_than_max_batch(bench):
    engine = BatchingEngine(permits=9)
    b = waiting_batch(bench, engine, max_batch=3)
    b.recorder.wait(lambda: len(b.answered) == 4)
    assert engine.batches == [3], "and a single row needs no batch"


def test_a_row_that_is_aborted_does_not_end_the_others(bench):
    engine = BatchingEngine()
    b = waiting_batch(bench, engine)
    b.wait_asked(1)
    b.worker.set_prompts(b.worker.prompts[1:])
    engine.permits.release(9)
    b.recorder.wait(lambda: len(b.answered) == 2 and len(b.recorder.drops) == 2)
    assert sorted(b.answered) == [("a", 0, "2"), ("b", 1, "2")]
    assert b.recorder.causes == ["prompt_changed"] * 2


def test_a_failed_pass_is_asked_again_row_by_row_so_that_a_bad_frame_costs_only_itself(bench):
    engine = BatchingEngine(permits=9)
    engine.batch_failure, engine.bad_camera = InferenceError("out of memory"), "a"
    b = waiting_batch(bench, engine)
    b.recorder.wait(lambda: len(b.answered) == 2 and len(b.recorder.drops) == 2)
    assert sorted(b.answered) == [("b", 1, "1"), ("b", 1, "2")]
    assert b.recorder.causes == ["inference_error"] * 2


def test_an_unreadable_frame_in_a_pass_is_counted_once(bench):
    b = bench(BatchingEngine(permits=9), cameras="ab", prompts=TWO, start=False, max_batch=8)
    b.offer("a", 0, failure=ImageError("cut off", cause="truncated"))
    b.offer("b", 1)
    b.start()
    b.recorder.wait(lambda: len(b.answered) == 2)
    assert b.recorder.causes == ["truncated"]
