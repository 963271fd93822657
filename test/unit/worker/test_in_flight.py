"""Several answers on their way at once, in real threads, with an engine that ends each when it is told to."""

from __future__ import annotations

import random
import threading
from collections import Counter

import numpy as np
import pytest
from concurrent_engine import ConcurrentEngine
from manual_clock import ManualClock
from scripted_engine import PATIENCE_S
from worker_bench import WorkerBench

from vlm_perception.engines.base import EngineState
from vlm_perception.errors import DeviceLostError, ImageError, InferenceError, NoAnswerError
from vlm_perception.settings import Settings
from vlm_perception.worker.tracking import Tracking

HERE, THERE, ELSEWHERE = (
    f'[{{"bbox_2d": [{left}, 40, {left + 40}, 80], "label": "cup"}}, {{"point_2d": [9, 9], "label": "b"}}]'
    for left in (40, 140, 240)
)
FIRST, REST = HERE[: HERE.index("}") + 1], HERE[HERE.index("}") + 1 :]
TWO = '["cup", "mug"]'
RGB = np.random.default_rng(0).integers(0, 255, (120, 320, 3), np.uint8)


@pytest.fixture
def bench():
    """Make a worker at work, with room for two answers of each camera."""
    made: list[WorkerBench] = []

    def make(max_in_flight: int = 2, **given) -> WorkerBench:
        made.append(WorkerBench(ConcurrentEngine(max_in_flight), rgb=RGB, **given))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        assert each.worker.stop(PATIENCE_S)


def numbers(results) -> list[int]:
    return [result.request.frame.header.stamp_sec for result in results]


def test_each_prompt_is_put_to_a_frame_once_and_to_the_next_while_the_first_is_answered(bench):
    b = bench(max_in_flight=3, prompts=TWO)
    b.offer(1)
    b.engine.call(1, "1"), b.engine.call(1, "2")
    b.offer(2)
    b.engine.call(2, "1").end()
    b.wait(lambda: len(b.results) == 1)
    b.engine.call(2, "2").end()
    b.wait(lambda: len(b.results) == 2)
    assert b.answered == [("a", 2, "1"), ("a", 2, "2")]
    b.wait(lambda: b.causes == ["overtaken"] * 2)
    assert (
        max(Counter((call.request.frame.header.stamp_sec, call.request.prompt) for call in b.engine.calls).values())
        == 1
    )


def test_an_answer_that_a_later_frame_overtook_is_aborted_and_nothing_of_it_is_told(bench):
    b = bench()
    b.offer(1)
    first = b.engine.call(1)
    b.offer(2)
    b.engine.call(2).end()
    assert first.over.wait(PATIENCE_S)
    b.wait(lambda: b.causes == ["overtaken"])
    assert (first.aborted, numbers(b.results)) == (True, [2])


def test_an_answer_that_is_overtaken_while_it_is_being_told_ends_there(bench):
    """Its picture is not shown after that of the later frame."""
    b, drawing, drawn = bench(), threading.Event(), threading.Event()
    pictures: list[int] = []

    def on_result(result, deliver) -> None:
        (number,) = numbers([result])
        deliver(lambda: b._note(b.results, result))
        if number == 1:
            drawing.set()
            assert drawn.wait(PATIENCE_S)
        deliver(lambda: pictures.append(number))
        if number == 2:
            drawn.set()

    b.on_result = on_result
    b.offer(1)
    b.engine.call(1).end()
    assert drawing.wait(PATIENCE_S)
    b.offer(2)
    b.engine.call(2).end()
    b.wait(lambda: numbers(b.results) == [1, 2])
    assert b.worker.stop(PATIENCE_S)
    assert (pictures, b.drops) == ([2], []), "it was answered"


def test_every_answer_is_told_in_the_order_of_its_frames(bench):
    b = bench(max_in_flight=3, frame_policy="every", publish_partial=True)
    for number in (1, 2, 3):
        b.offer(number)
    calls = [b.engine.call(number) for number in (1, 2, 3)]
    calls[1].write(HERE)
    for number in (2, 1, 0):
        calls[number].end()
    b.wait(lambda: len(b.results) == 3)
    assert (numbers(b.results), b.drops, b.partials) == ([1, 2, 3], [], [])


def test_prompts_about_one_frame_do_not_wait_for_one_another(bench):
    b = bench(frame_policy="every", prompts=TWO, publish_partial=True)
    b.offer(1)
    b.engine.call(1, "1")
    b.engine.call(1, "2").write(HERE)
    b.engine.call(1, "2").end()
    b.wait(lambda: b.answered == [("a", 1, "2")])
    assert numbers(b.partials) == [1]


def test_an_answer_that_waits_for_its_place_is_given_up_with_the_others(bench):
    b = bench(frame_policy="every")
    b.offer(1)
    b.offer(2)
    b.engine.call(2).end()
    b.worker.pause()
    b.wait(lambda: b.causes == ["paused"] * 2)
    assert b.results == []


def test_no_part_of_a_later_frame_is_told_before_an_earlier_answer(bench):
    b = bench(publish_partial=True)
    b.offer(1)
    first = b.engine.call(1)
    b.offer(2)
    second = b.engine.call(2)
    second.write(FIRST)
    first.write(FIRST)
    assert numbers(b.partials) == [1]
    first.end()
    b.wait(lambda: numbers(b.results) == [1])
    second.write(REST)
    assert (numbers(b.partials), len(b.partials[-1].objects)) == ([1, 2], 2)


def test_no_part_of_an_overtaken_answer_is_told(bench):
    b = bench(publish_partial=True)
    b.offer(1)
    first = b.engine.call(1)
    first.deaf = True
    b.offer(2)
    b.engine.call(2).end()
    b.wait(lambda: numbers(b.results) == [2])
    first.write(HERE)
    first.end()
    b.wait(lambda: b.causes == ["overtaken"])
    assert (numbers(b.results), b.partials) == ([2], [])


def test_who_waits_for_one_answer_gets_it_though_it_is_overtaken_and_not_published(bench):
    b = bench(frame_policy="on_demand")
    waiting = []
    for number in (1, 2):
        waiting.append(b.worker.detect_once())
        b.offer(number)
        b.engine.call(number)
    b.engine.call(2).end()
    assert numbers([waiting[1].result(PATIENCE_S)]) == [2]
    b.engine.call(1).end()
    assert numbers([waiting[0].result(PATIENCE_S)]) == [1]
    b.wait(lambda: b.causes == ["overtaken"])
    assert numbers(b.results) == [2]


def test_who_waits_for_an_overtaken_answer_gets_another_when_the_prompt_changes(bench):
    b = bench(frame_policy="on_demand")
    first = b.worker.detect_once()
    b.offer(1)
    b.engine.call(1)
    second = b.worker.detect_once()
    b.offer(2)
    b.engine.call(2).end()
    second.result(PATIENCE_S)
    b.ask("blue cup")
    b.wait(lambda: b.causes == ["prompt_changed"])
    b.offer(3)
    b.engine.call(3).end()
    assert first.result(PATIENCE_S).request.prompt.text == "blue cup"


@pytest.mark.parametrize(
    ("cause", "change", "back"),
    [
        ("prompt_changed", lambda b: b.ask("blue cup"), lambda b: None),
        ("camera_gone", lambda b: b.worker.set_cameras({"b": 1.0}), lambda b: b.worker.set_cameras({"a": 1.0})),
        ("paused", lambda b: b.worker.pause(), lambda b: b.worker.resume()),
        ("inactive", lambda b: b.worker.deactivate(), lambda b: b.worker.activate()),
        ("not_asked", lambda b: b.apply(frame_policy="on_demand"), lambda b: b.apply()),
    ],
)
def test_a_change_aborts_all_answers_and_nothing_of_them_is_told(bench, cause, change, back):
    b = bench(max_in_flight=3, publish_partial=True)
    for number in (1, 2, 3):
        b.offer(number)
        b.engine.call(number)
    # It has written its answer and goes on, as a server does to which the line is slow.
    b.engine.call(2).deaf = True
    change(b)
    b.engine.call(2).write(HERE)
    b.engine.call(2).end()
    b.wait(lambda: b.causes == [cause] * 3)
    assert [b.engine.call(number).aborted for number in (1, 2, 3)] == [True, False, True]
    back(b)
    b.offer(4)
    b.engine.call(4).end()
    b.wait(lambda: numbers(b.results) == [4])
    assert b.partials == []


def test_the_model_is_freed_when_no_answer_is_on_its_way_any_more(bench):
    b = bench(cameras="ab")
    for camera in "ab":
        b.offer(1, camera)
        b.engine.call(1, camera=camera)
    slow = b.engine.call(1, camera="b")
    slow.deaf = True
    assert not b.worker.stop(0.01), "one does not stop"
    assert (b.engine.closed_beside, b.worker.state) == (None, EngineState.READY)
    slow.end()
    assert b.worker.stop(PATIENCE_S)
    assert (b.engine.closed_beside, b.results, b.causes) == (0, [], ["stopped"] * 2)


def test_frames_wait_for_the_rate_though_there_is_room(bench):
    b = bench(max_rate_hz=0.01)
    b.offer(1)
    b.engine.call(1).end()
    b.wait(lambda: numbers(b.results) == [1])
    b.offer(2)
    b.offer(3)
    assert b.causes == ["replaced"], "the gate is shut for 100 s, so frame 2 cannot have been taken"


def test_failures_in_a_row_are_counted_as_answers_end(bench):
    b = bench(cameras="abcd", max_failures=2)
    calls = {}
    for camera in "abcd":
        b.offer(1, camera)
        calls[camera] = b.engine.call(1, camera=camera)
    calls["d"].fail(InferenceError("one"))
    b.wait(lambda: b.causes == ["inference_error"])
    calls["a"].end()
    b.wait(lambda: len(b.results) == 1)
    calls["c"].fail(InferenceError("two"))
    b.wait(lambda: b.causes == ["inference_error"] * 2)
    assert b.worker.state is EngineState.READY
    b.offer(2, "a")
    b.engine.call(2, camera="a").fail(InferenceError("three"))
    b.wait(lambda: b.states[-1][0] is EngineState.FAILED)
    assert "three" in b.states[-1][1]
    assert (calls["b"].aborted, b.engine.closed_beside) == (True, 0)


def test_what_was_aborted_forgives_no_failure(bench):
    b = bench(prompts=TWO, max_failures=2)
    b.offer(1)
    b.engine.call(1, "2")
    b.engine.call(1, "1").fail(InferenceError("one"))
    b.wait(lambda: b.causes == ["inference_error"])
    b.worker.set_prompts(b.worker.prompts[:1])
    b.wait(lambda: b.causes == ["inference_error", "prompt_changed"])
    b.offer(2)
    b.engine.call(2, "1").fail(InferenceError("two"))
    b.wait(lambda: b.states[-1][0] is EngineState.FAILED)


def test_a_lost_device_ends_what_is_beside_it_and_who_waits_hears_of_it(bench):
    b = bench()
    b.offer(1)
    b.engine.call(1)
    waiting = b.worker.detect_once()
    b.offer(2)
    failing = b.engine.call(2)
    b.offer(3)
    later = b.worker.detect_once()
    failing.fail(DeviceLostError("it is gone"))
    b.wait(lambda: b.states[-1][0] is EngineState.FAILED)
    for each in (waiting, later):
        with pytest.raises(NoAnswerError, match="it is gone"):
            each.result(PATIENCE_S)


def test_a_frame_that_cannot_be_read_takes_no_room(bench):
    b = bench(max_in_flight=1)
    for number in (1, 2, 3):
        b.offer(number, failure=ImageError("cut off", cause="truncated"))
        b.wait(lambda n=number: b.causes == ["truncated"] * n)
    b.offer(4)
    b.engine.call(4).end()
    b.wait(lambda: numbers(b.results) == [4])


def test_the_answer_that_should_have_ended_first_is_the_one_that_is_watched(bench):
    clock = ManualClock()
    b = bench(clock=clock, timeout_s=10.0)
    b.offer(1)
    first = b.engine.call(1)
    first.deaf = True
    first.write("[")  # its time counts from when the model begins
    clock.wait(8.0)
    b.offer(2)
    second = b.engine.call(2)
    second.write("[")
    clock.wait(4.0)
    running = b.worker.running
    assert running is not None
    assert (running.asking_s, running.overdue_s) == (12.0, 2.0)
    first.end()
    b.wait(lambda: numbers(b.results) == [1])
    running = b.worker.running
    assert running is not None
    assert (running.asking_s, running.overdue_s) == (4.0, -6.0)


class Unwatched:
    """Wants no tracks."""

    def wants_tracks(self, camera: str) -> bool:
        return False


def test_what_is_overtaken_is_no_sighting_and_takes_no_id(bench):
    following = Tracking(Settings(tracking="ids"), Unwatched())
    b = bench(following=following, tracking="ids", publish_partial=True)
    b.offer(1)
    first = b.engine.call(1)
    first.deaf = True
    b.offer(2)
    second = b.engine.call(2)
    second.write(HERE)
    second.end()
    b.wait(lambda: numbers(b.results) == [2])
    first.write(THERE)
    first.end()
    b.wait(lambda: b.causes == ["overtaken"])
    b.offer(3)
    b.engine.call(3).write(ELSEWHERE)
    assert [found.id for found in b.results[0].objects] == ["1", "2"]
    assert [found.id for found in b.partials[-1].objects] == ["3", "2"]


@pytest.mark.parametrize("policy", ["newest", "every"])
@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_each_is_told_or_counted_and_none_after_a_later_one(bench, policy: str, seed: int):
    rng = random.Random(seed)
    b = bench(3, cameras="ab", prompts=TWO, frame_policy=policy, publish_partial=True, queue_length=100, max_failures=0)
    heard: list[tuple[str, str, int]] = []

    def hear(result) -> None:
        request = result.request
        prompt = request.prompt.id if policy == "newest" else ""
        heard.append((request.frame.camera, prompt, request.frame.header.stamp_sec))

    def on_result(result, deliver) -> None:
        deliver(lambda: hear(result) or b._note(b.results, result))

    b.on_partial = lambda result, deliver: deliver(lambda: hear(result))
    b.on_result = on_result

    def end_one() -> None:
        call = rng.choice(b.engine.running())
        if rng.random() < 0.2:
            call.fail(InferenceError("chance"))
        else:
            call.write(HERE)
            call.end()

    for number in range(1, 25):
        for camera in "ab":
            b.offer(number, camera)
        for _ in range(rng.randrange(4)):
            end_one()
    while policy == "every" and (
        len(b.engine.calls) < 2 * 2 * 24 or not all(call.over.is_set() for call in b.engine.calls)
    ):
        end_one()
    b.wait(lambda: policy == "newest" or len(b.results) + len(b.drops) == 2 * 2 * 24)
    b.worker.pause()
    while b.worker.answering:
        threading.Event().wait(0.005)
    # The frame of each camera that waited was paused, too.
    assert 0 <= len(b.results) + len(b.drops) - b.causes.count("replaced") - len(b.engine.calls) <= 2
    asked = Counter(
        (call.request.frame.header, call.request.frame.camera, call.request.prompt) for call in b.engine.calls
    )
    assert max(asked.values()) == 1
    assert set(b.causes) <= {"replaced", "overtaken", "inference_error", "paused"}
    for where in {entry[:2] for entry in heard}:
        told = [number for *at, number in heard if tuple(at) == where]
        assert told == sorted(told)
