"""A prompt of the task `watch` is asked with what led to its frame, and nothing is kept while there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from manual_clock import ManualClock
from scripted_engine import PATIENCE_S, ScriptedEngine
from worker_bench import WorkerBench

from vlm_perception.errors import ImageError, ModelMemoryError
from vlm_perception.settings import Settings
from vlm_perception.types import PixelBudget, Request

BOTH = '[{"id": "film", "prompt": "watch: what happened?"}, {"id": "cup", "prompt": "cup"}]'
Make = Callable[..., WorkerBench]


@pytest.fixture
def bench() -> Iterator[Make]:
    made: list[WorkerBench] = []

    def make(prompts: str = "watch: what happened?", **settings: object) -> WorkerBench:
        clock = ManualClock()
        made.append(WorkerBench(ScriptedEngine("at 00:01.00"), prompts=prompts, clock=clock, **settings))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        assert each.worker.stop(PATIENCE_S)


def times(request: Request) -> list[float]:
    assert request.clip is not None
    return [round(time_s, 3) for time_s in request.clip.times_s]


def show(b: WorkerBench, *numbers: int) -> None:
    """A frame a second, whose number is its stamp."""
    for number in numbers:
        b.clock.wait(0.99)
        b.show(number)


def test_a_clip_grows_to_the_window_and_has_the_stamps_of_its_frames(bench: Make) -> None:
    b = bench(watch_window_s=3.0, watch_rate_hz=1.0)
    show(b, *range(1, 7))
    assert [times(request) for request in b.engine.requests] == [
        [0.0],
        [0.0, 1.0],
        [0.0, 1.0, 2.0],
        *[[0.0, 1.0, 2.0, 3.0]] * 3,
    ]
    for request, result in zip(b.engine.requests, b.results, strict=True):
        assert request.clip.frames[-1] is request.frame
        assert [event.start_s for event in result.events] == ([1.0] if request.clip.duration_s >= 0.5 else [])


def test_others_are_asked_about_the_frame_alone_and_keep_nothing(bench: Make) -> None:
    b = bench("cup")
    show(b, 1, 2)
    assert [request.clip for request in b.engine.requests] == [None, None]
    b.ask(BOTH)
    show(b, 3)
    b.wait(lambda: len(b.results) == 4)
    asked = {request.prompt.id: request for request in b.engine.requests[2:]}
    assert (times(asked["film"]), asked["cup"].clip) == ([0.0], None)


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [
        (lambda b: b.ask("cup"), lambda b: b.ask("watch: what happened?")),
        (lambda b: b.worker.pause(), lambda b: b.worker.resume()),
        (lambda b: b.worker.deactivate(), lambda b: b.worker.activate()),
        (lambda b: b.worker.set_cameras({"b": 1.0}), lambda b: b.worker.set_cameras({"a": 1.0})),
        (lambda b: b.apply(watch_rate_hz=1.0, watch_window_s=9.0), lambda b: None),
    ],
    ids=["prompt", "pause", "inactive", "camera", "window"],
)
def test_what_was_kept_goes_with_what_it_was_kept_for(bench: Make, leave, come_back) -> None:
    b = bench(watch_rate_hz=1.0)
    show(b, 1, 2)
    leave(b)
    come_back(b)
    show(b, 3)
    assert [times(request) for request in b.engine.requests] == [[0.0], [0.0, 1.0], [0.0]]


def test_under_every_a_late_frame_has_those_that_were_before_it(bench: Make) -> None:
    b = bench(watch_window_s=2.0, watch_rate_hz=1.0, frame_policy="every")
    b.engine.thinking.set()
    for number in range(1, 9):
        b.clock.wait(1.0)
        b.offer(number)
    b.engine.thinking.clear()
    for count in range(1, 9):
        b.wait(lambda count=count: len(b.results) >= count)
        # Past the rate gate.
        b.clock.wait(0.01)
        b.apply()
    stamps = [[frame.header.stamp_sec for frame in request.clip.frames] for request in b.engine.requests]
    assert stamps == [[1], [1, 2], *[[number - 2, number - 1, number] for number in range(3, 9)]]


def test_a_bad_frame_of_the_past_is_left_out_and_counted(bench: Make) -> None:
    b = bench(watch_rate_hz=1.0)
    show(b, 1)
    b.worker.pause()
    b.worker.resume()
    b.clock.wait(1.0)
    b.engine.thinking.set()
    b.offer(2)
    b.engine.wait_asked(2)
    b.clock.wait(1.0)
    b.offer(3, failure=ImageError("cut off", cause="truncated"))
    b.clock.wait(1.0)
    b.offer(4)
    b.engine.thinking.clear()
    b.wait(lambda: len(b.results) == 3)
    assert times(b.engine.requests[-1]) == [0.0, 2.0]
    assert b.causes == ["replaced", "truncated"]


def test_all_frames_share_the_pixels_and_two_count_as_one() -> None:
    settings = Settings(watch_max_pixels=800_000)
    budgets = [settings.watch_budget(settings.budget, count).max_pixels for count in (1, 2, 3, 16)]
    assert budgets == [800_000, 800_000, 400_000, 100_000]
    lowered = settings.watch_budget(PixelBudget(3136, settings.max_pixels // 2), 2)
    assert lowered == PixelBudget(3136, 400_000)
    least = Settings(watch_max_pixels=4000, watch_rate_hz=20.0).watch_budget(settings.budget, 160)
    assert least == PixelBudget(3136, 3136)


def test_memory_that_runs_out_halves_the_clip_too(bench: Make) -> None:
    b = bench(watch_rate_hz=1.0)
    failures = iter([ModelMemoryError("too little")])

    def ask(request: Request) -> None:
        for error in failures:
            raise error

    b.engine.blank_answer = lambda request: _seen(b, request)
    b.engine.on_ask = ask
    show(b, 1)
    first, second = (request.budget.max_pixels for request in b.engine.requests)
    assert second <= first // 2
    assert b.engine.requests[1].clip is not None


def _seen(b: WorkerBench, request: Request):
    side = int(request.budget.max_pixels**0.5)
    answer = ScriptedEngine.blank_answer(b.engine, request)
    return type(answer)(answer.text, (side, side), *[getattr(answer, name) for name in answer.__slots__[2:]])
