"""What only the worker's thread can show, with an engine that is told when to answer, and events instead of sleeps."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from manual_clock import ManualClock
from scripted_engine import PATIENCE_S, ScriptedEngine
from worker_bench import WorkerBench

from vlm_perception.engines.base import EngineState
from vlm_perception.errors import (
    DeviceLostError,
    GeometryError,
    ImageError,
    InferenceError,
    ModelLoadError,
    NoAnswerError,
    ServerUnavailableError,
)

FIRST = '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}'
REPLY = FIRST + ', {"point_2d": [5, 6], "label": "b"}]'
TWO = '["cup", "mug"]'
LOADED = [EngineState.LOADING, EngineState.READY]


@pytest.fixture
def bench():
    """Make a worker at work; an engine that thinks has written the first object and waits to be let go on."""
    made: list[WorkerBench] = []

    def make(thinks: bool = False, start: bool = True, **given) -> WorkerBench:
        engine = ScriptedEngine(REPLY)
        if thinks:
            engine.first = len(FIRST)
            engine.thinking.set()
        made.append(WorkerBench(engine, **given))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for each in made:
        assert each.worker.stop(PATIENCE_S)


@pytest.mark.parametrize(
    ("cause", "change", "back"),
    [
        ("prompt_changed", lambda b: b.ask("blue cup"), lambda b: None),
        ("camera_gone", lambda b: b.worker.set_cameras({"b": 1.0}), lambda b: None),
        ("paused", lambda b: b.worker.pause(), lambda b: b.worker.resume()),
        ("inactive", lambda b: b.worker.deactivate(), lambda b: b.worker.activate()),
        ("not_asked", lambda b: b.apply(frame_policy="on_demand"), lambda b: b.apply()),
    ],
)
def test_a_change_aborts_the_answer_of_which_nothing_is_delivered_and_the_worker_goes_on(bench, cause, change, back):
    b = bench(thinks=True, cameras="ab")
    b.offer(1)
    b.engine.wait_asked(1)
    change(b)
    b.wait(lambda: b.causes == [cause])
    assert (b.engine.aborted, b.worker.paused) == (1, cause == "paused")
    back(b)
    b.engine.thinking.clear()
    b.show(2, "b")
    assert b.answered == [("b", 2, "")]
    assert (b.engine.closed, [state for state, _ in b.states]) == (False, LOADED), "the model stays loaded"


def test_a_finished_answer_is_not_delivered_if_the_prompt_changes_at_the_last_moment(bench):
    b = bench()
    b.on_result = lambda result, deliver: b.ask("") and deliver(lambda: b.results.append(result))
    b.offer(1)
    b.wait(lambda: bool(b.drops))
    assert (b.results, b.causes) == ([], ["prompt_changed"])


def test_each_prompt_is_put_to_a_frame_once_and_the_engine_knows_the_frame_again(bench):
    b = bench(prompts=TWO)
    b.offer(1)
    b.wait(lambda: len(b.results) == 2)
    b.show(2)
    assert b.answered[:2] == [("a", 1, "1"), ("a", 1, "2")]
    assert b.engine.requests[0].frame is b.engine.requests[1].frame


@pytest.mark.parametrize(
    ("where", "failure", "cause"),
    [
        ("frame", ImageError("cut off", cause="truncated"), "truncated"),
        ("frame", GeometryError("too narrow"), "bad_geometry"),
        ("frame", ValueError("a bug"), "internal_error"),
        ("frame", None, "stale"),
        ("engine", InferenceError("boom"), "inference_error"),
        ("engine", RuntimeError("boom"), "internal_error"),
        ("listener", OSError("the middleware is gone"), "internal_error"),
    ],
)
def test_whatever_fails_costs_one_frame_and_who_waits_for_its_answer_hears_why(bench, where, failure, cause):
    b = bench(publish_partial=True)
    waiting = b.worker.detect_once()

    def fail(result, deliver):
        raise failure

    b.engine.error = failure if where == "engine" else None
    if where == "listener":
        b.on_partial = fail
    b.offer(1, age_s=61.0 if cause == "stale" else 0.0, failure=failure if where == "frame" else None)
    b.wait(lambda: b.drops == [(cause, failure)])
    if failure:
        with pytest.raises(NoAnswerError, match=str(failure)):
            waiting.result(PATIENCE_S)
    b.engine.error, b.on_partial = None, lambda result, deliver: None
    b.offer(2)
    b.wait(lambda: b.answered == [("a", 2, "")])


@pytest.mark.parametrize(
    ("failure", "detail"),
    [(ModelLoadError("no such folder"), "no such folder"), (OSError("disk"), "OSError: disk")],
)
def test_a_model_that_cannot_be_loaded_is_reported_once_and_can_be_tried_again(bench, failure, detail):
    b = bench(start=False)
    waiting = b.worker.detect_once()
    b.engine.load_error = failure
    b.start()
    assert b.states == [(EngineState.LOADING, ""), (EngineState.FAILED, detail)]
    assert b.engine.closed
    with pytest.raises(NoAnswerError, match=detail):
        waiting.result(PATIENCE_S)
    b.offer(1)
    b.offer(2)
    assert b.causes == ["not_ready"]
    b.engine.load_error = None
    b.start()
    b.offer(3)
    b.wait(lambda: ("a", 3, "") in b.answered)


def test_the_rate_is_kept_but_a_new_prompt_is_answered_at_once(bench):
    b = bench(max_rate_hz=0.01)
    b.show(1)
    b.offer(2)
    b.offer(3)
    assert b.causes == ["replaced"], "the gate is shut for 100 s, so frame 2 cannot have been taken"
    b.ask("blue cup")
    b.wait(lambda: b.answered == [("a", 1, ""), ("a", 3, "")])


def test_new_settings_reach_the_next_frame(bench):
    b = bench()
    b.show(1)
    assert b.partials == [], "only when asked for"
    b.apply(max_new_tokens=7, max_pixels=60000, publish_partial=True)
    b.show(2)
    asked = b.engine.requests[-1]
    assert (asked.max_new_tokens, asked.budget.max_pixels) == (7, 60000)
    assert [part.request.frame.header.stamp_sec for part in b.partials] == [2, 2]


def test_stopping_in_mid_answer_ends_the_thread_and_closes_the_engine(bench):
    b = bench(thinks=True)
    b.offer(1)
    b.engine.wait_asked(1)
    assert b.worker.stop(PATIENCE_S)
    assert (b.engine.closed, b.results, b.worker.state) == (True, [], EngineState.STOPPED)


def test_a_worker_that_never_started_can_be_stopped(bench):
    assert bench(start=False).worker.stop(0.0)


def test_a_worker_starts_again_after_a_stop_and_answers(bench):
    b = bench()
    for number in (1, 2):
        b.offer(number)
        b.wait(lambda n=number: len(b.results) == n)
        assert b.worker.stop(PATIENCE_S)
        assert b.engine.closed
        b.offer(9)
        assert b.causes == ["stopped"] * number, "what comes meanwhile is counted"
        b.start()
    b.offer(3)
    b.wait(lambda: [number for _, number, _ in b.answered] == [1, 2, 3])


@pytest.mark.parametrize("is_loaded", [True, False])
def test_one_answer_on_demand_comes_to_who_asked_and_to_the_listener(bench, is_loaded):
    b = bench(start=is_loaded, frame_policy="on_demand")
    waiting = b.worker.detect_once("a")
    b.offer(1)
    if not is_loaded:
        b.start()
    assert [waiting.result(PATIENCE_S)] == b.results
    assert b.answered == [("a", 1, "")]


def test_why_there_is_no_answer_is_said_at_once(bench):
    b = bench(prompts="", cameras="ab")
    refused = [(b.worker.detect_once(), "no prompt")]
    b.ask("cup")
    refused.append((b.worker.detect_once("c"), "no camera c; known cameras: a, b"))
    b.worker.pause()
    refused.append((b.worker.detect_once(), "paused"))
    b.worker.deactivate()
    refused.append((b.worker.detect_once(), "not active: wait"))
    b.worker.resume()
    b.worker.activate()
    later = [(b.worker.detect_once("a"), "no camera a")]
    b.worker.set_cameras({"b": 1.0})
    later.append((b.worker.detect_once(), "stopped"))
    b.worker.stop(PATIENCE_S)
    later.append((b.worker.detect_once(), "configure and activate"))
    for future, reason in refused + later:
        with pytest.raises(NoAnswerError, match=reason):
            future.result(0)


def test_parts_are_delivered_before_the_whole(bench):
    b = bench(thinks=True, publish_partial=True)
    b.offer(1)
    b.wait(lambda: bool(b.partials))
    assert b.results == []
    b.engine.thinking.clear()
    b.wait(lambda: bool(b.results))
    labels = [[found.label for found in result.objects] for result in b.partials + b.results]
    assert (labels, b.drops) == ([["a"], ["a", "b"], ["a", "b"]], [])


def test_no_part_of_an_old_answer_is_delivered_after_a_new_prompt(bench):
    """The engine goes on writing objects although it was told to stop."""
    b = bench(thinks=True, publish_partial=True)
    b.engine.deaf = True
    b.offer(1)
    b.wait(lambda: bool(b.partials))
    b.ask("blue cup")
    b.engine.thinking.clear()
    b.wait(lambda: bool(b.drops))
    assert b.causes == ["prompt_changed"], "a frame of which a part went out was not answered"
    b.show(2)
    assert b.answered == [("a", 2, "")]
    assert [part.request.prompt.text for part in b.partials] == ["cup", "blue cup", "blue cup"]


def test_while_a_result_is_published_no_camera_waits_for_it_but_a_new_prompt_does(bench):
    b = bench()
    publishing, go_on, order = threading.Event(), threading.Event(), []

    def publish() -> None:
        publishing.set()
        go_on.wait(PATIENCE_S)
        order.append("published")

    b.on_result = lambda result, deliver: deliver(publish)
    b.offer(1)
    assert publishing.wait(PATIENCE_S)
    b.offer(2)
    b.offer(3)
    assert b.causes == ["replaced"]
    changer = threading.Thread(target=lambda: b.ask("") and order.append("changed"))
    changer.start()
    go_on.set()
    changer.join(PATIENCE_S)
    assert (order[0], order[-1]) == ("published", "changed")


@pytest.mark.parametrize(
    ("failure", "max_failures", "ends_after"),
    [
        (InferenceError("a kernel failed"), 3, 3),
        (ValueError("a bug"), 2, 2),
        (DeviceLostError("the GPU is lost"), 20, 1),
        (DeviceLostError("the GPU is lost"), 0, 1),
        (InferenceError("a kernel failed"), 0, None),
        (GeometryError("too long"), 1, None),
        (ServerUnavailableError("all are gone"), 1, None),
    ],
)
def test_a_model_that_fails_again_and_again_or_has_no_device_has_failed(bench, failure, max_failures, ends_after):
    b = bench(max_failures=max_failures)
    b.engine.error = failure
    for number in range(1, (ends_after or 5) + 1):
        assert b.worker.state is EngineState.READY
        b.show(number)
    if ends_after is None:
        assert b.worker.state is EngineState.READY
        return
    b.wait(lambda: b.states[-1][0] is EngineState.FAILED)
    assert b.engine.closed
    assert str(failure) in b.states[-1][1]
    with pytest.raises(NoAnswerError, match="the model cannot be used: "):
        b.worker.detect_once().result(PATIENCE_S)


def test_a_good_answer_forgives_the_failures_before_it(bench):
    b = bench(max_failures=2)
    for number, failure in enumerate([InferenceError("once"), None] * 4):
        b.engine.error = failure
        b.show(number)
    assert b.worker.state is EngineState.READY


def fill_first_pass(bench, **given) -> tuple[WorkerBench, list[int]]:
    """Two cameras with two prompts each, all waiting for the first pass, and how many rows each pass has."""
    b, passes = bench(cameras="ab", prompts=TWO, start=False, **{"max_batch": 8, **given}), []

    def answer_batch(requests, should_stop, on_text):
        passes.append(len(requests))
        return [b.engine.answer(*row) for row in zip(requests, should_stop, on_text, strict=True)]

    b.engine.answer_batch = answer_batch
    b.offer(0, "a")
    b.offer(1, "b")
    return b, passes


# A single row that is left needs no batch.
@pytest.mark.parametrize(("max_batch", "expected"), [(8, [4]), (3, [3])])
def test_all_cameras_and_prompts_go_in_one_pass_up_to_max_batch(bench, max_batch, expected):
    b, passes = fill_first_pass(bench, max_batch=max_batch)
    b.start()
    b.wait(lambda: len(b.results) == 4)
    assert passes == expected
    assert sorted(b.answered) == [("a", 0, "1"), ("a", 0, "2"), ("b", 1, "1"), ("b", 1, "2")]


def test_a_row_that_is_aborted_does_not_end_the_others(bench):
    b, _ = fill_first_pass(bench, thinks=True)
    b.start()
    b.engine.wait_asked(1)
    b.worker.set_prompts(b.worker.prompts[1:])
    b.engine.thinking.clear()
    b.wait(lambda: len(b.results) == len(b.drops) == 2)
    assert sorted(b.answered) == [("a", 0, "2"), ("b", 1, "2")]
    assert b.causes == ["prompt_changed"] * 2


def test_a_failed_pass_is_asked_again_row_by_row_so_that_a_bad_frame_costs_only_itself(bench):
    b, passes = fill_first_pass(bench)

    def refuse(request) -> None:
        if request.frame.camera == "a":
            raise InferenceError("bad row")

    b.engine.on_ask = refuse
    b.start()
    b.wait(lambda: len(b.results) == len(b.drops) == 2)
    assert (passes, sorted(b.answered)) == ([4], [("b", 1, "1"), ("b", 1, "2")])
    assert b.causes == ["inference_error"] * 2


def test_an_unreadable_frame_in_a_pass_is_counted_once(bench):
    b, _ = fill_first_pass(bench)
    b.offer(2, "a", failure=ImageError("cut off", cause="truncated"))
    b.start()
    b.wait(lambda: len(b.results) == 2)
    assert b.causes == ["not_ready", "truncated"]


def test_each_prompt_sees_its_own_region_of_a_frame_and_one_beside_the_frame_costs_itself_alone(bench):
    b = bench(
        start=False, prompts='["cup", "in the right half: cup", "in [10, 0, 20, 28]: cup", "in [28, 0, 99, 9]: cup"]'
    )
    sizes = {"1": (28, 28), "2": (14, 28), "3": (10, 28)}
    left_px = {"1": 1.0, "2": 15.0, "3": 11.0}
    b.start()
    b.offer(1)
    b.wait(lambda: len(b.results) == 3 and len(b.drops) == 1)
    assert {r.request.prompt.id: r.objects[0].xyxy[0] for r in b.results} == left_px
    assert sorted(asked.frame.image_wh for asked in b.engine.requests) == sorted(sizes.values())
    assert (b.causes, "28x28" in str(b.drops[0][1])) == (["bad_geometry"], True)


@pytest.mark.parametrize(
    ("frame_policy", "age_s", "outcomes"),
    [("newest", 0.0, ["done"]), ("newest", 3.0, ["stale"]), ("every", 3.0, ["done"])],
)
def test_small_things_are_looked_at_again_only_while_the_frame_is_fresh(bench, frame_policy, age_s, outcomes):
    clock = ManualClock()
    b = bench(start=False, clock=clock, rgb=np.zeros((280, 280, 3), np.uint8), zoom="auto", max_age_s=2.0,
              frame_policy=frame_policy)  # fmt: skip
    b.engine.on_ask = lambda request: setattr(clock, "now_s", clock.now_s + age_s)
    b.start()
    b.offer(1)
    b.wait(lambda: bool(b.results))
    assert [look.outcome for look in b.results[0].looks] == outcomes
    assert [request.look for request in b.engine.requests] == [0] + [1] * outcomes.count("done")


def test_a_prompt_that_changes_ends_a_closer_look_too(bench):
    b = bench(start=False, rgb=np.zeros((280, 280, 3), np.uint8), zoom="auto")

    def think_then(request):
        if request.look:
            b.engine.thinking.set()
            asked.set()

    asked = threading.Event()
    b.engine.on_ask = think_then
    b.start()
    b.offer(1)
    assert asked.wait(PATIENCE_S)
    b.ask("mug")
    b.wait(lambda: b.causes == ["prompt_changed"])
    b.engine.on_ask = lambda request: None
    b.engine.thinking.clear()
    b.show(2)
    assert b.answered == [("a", 2, "")]


def test_a_closer_look_that_takes_too_long_ends_with_the_time_of_its_answer(bench):
    clock = ManualClock()
    b = bench(start=False, clock=clock, rgb=np.zeros((280, 280, 3), np.uint8), zoom="auto", timeout_s=5.0)

    def take_long(request):
        if request.look:
            clock.wait(6.0)
            b.engine.thinking.set()

    b.engine.on_ask = take_long
    b.start()
    b.offer(1)
    b.wait(lambda: bool(b.results))
    (result,) = b.results
    assert ([look.outcome for look in result.looks], result.truncated, len(result.objects)) == (["stopped"], False, 2)
