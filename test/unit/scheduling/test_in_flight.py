"""Several turns of a camera on their way at once: how many, in which order they are told, and what is overtaken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_bench import pending_frame

from vlm_perception.engines.base import EngineState
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scheduling.scheduler import Scheduler
from vlm_perception.scheduling.turns import OnceRequest, Turn
from vlm_perception.settings import Settings

PROMPTS = tuple(map(build_prompt, ("cup", "mug", "jug")))
CAMERAS = ("a", "b", "c")


def number_of(turn: Turn) -> int:
    return turn.pending.read().header.stamp_sec


class Line:
    """A scheduler with room, and what was told of its turns."""

    def __init__(self, room: int, weights: Sequence[float] = (1.0,), **changed: object) -> None:
        self.now_s = 100.0
        limits = Settings.from_mapping({"max_rate_hz": 1000.0, "max_age_s": 60.0, **changed})
        self.scheduler = Scheduler(limits, lambda: self.now_s)
        self.scheduler.engine_state = EngineState.READY
        self.scheduler.room = room
        self.weights = dict(zip(CAMERAS, weights, strict=False))
        self.scheduler.set_cameras(self.weights)
        self.scheduler.set_prompts(PROMPTS[:1])
        self.active: list[Turn] = []
        self.asked: Counter[tuple[int, object]] = Counter()
        self.told: list[Turn] = []
        self.n_frames = 0

    def put(self, camera: str = "a") -> None:
        self.n_frames += 1
        self.now_s += 0.1
        self.scheduler.put(pending_frame(camera, self.n_frames, self.now_s))

    def pick(self) -> list[Turn]:
        picked = self.scheduler.pick(1)
        self.scheduler.mark_passed(picked)
        self.active += picked
        self.asked.update((number_of(turn), turn.prompt) for turn in picked)
        return picked

    def answer(self, turn: Turn) -> None:
        """As the worker does with a whole answer; one that has to wait comes again."""
        if turn.over is None:
            if self.scheduler.must_wait(turn):
                return
            self.scheduler.overtake(turn)
            self.told.append(turn)
        self.active.remove(turn)
        self.scheduler.done([turn])


@pytest.mark.parametrize(
    ("room", "weights", "most"),
    [
        (1, (1.0,), [1]),
        (2, (1.0,), [2]),
        (2, (0.1, 0.1, 0.1), [2, 2, 2]),
        (2, (1.0, 3.0), [2, 4]),
        (3, (0.5, 4), [3, 6]),
    ],
)
def test_room_is_that_of_the_engine_and_more_for_a_camera_that_weighs_more(room: int, weights, most: list[int]) -> None:
    alone, together = [], Line(room, weights)
    for camera in together.weights:
        line = Line(room, weights)
        for _ in range(20):
            line.put(camera)
            line.pick()
        alone.append(len(line.active))
        assert line.scheduler.wait_s() is None, "nothing can be asked before an answer is there"
    assert alone == most
    for _ in range(20):
        for camera in together.weights:
            together.put(camera)
            together.pick()
    assert len(together.active) == room * len(weights)


def test_what_is_asked_about_a_later_frame_overtakes_the_same_prompt_alone() -> None:
    line = Line(9, (1.0, 1.0))
    line.scheduler.set_prompts(PROMPTS[:2])
    for camera in "aba":
        line.put(camera)
        assert len(line.pick() + line.pick()) == 2
    line.answer(next(turn for turn in line.active if (number_of(turn), turn.prompt) == (3, PROMPTS[0])))
    over = [(turn.camera, turn.prompt) for turn in line.active if turn.over]
    assert over == [("a", PROMPTS[0])]


def test_an_overtaken_answer_is_wanted_by_who_waits_for_it_until_a_change_ends_it() -> None:
    line = Line(2)
    line.scheduler.ask_once(once := OnceRequest(None))
    line.put()
    (first,) = line.pick()
    line.put()
    (second,) = line.pick()
    line.answer(second)
    assert (first.over and first.over.value, first.is_wanted) == ("overtaken", True)
    line.scheduler.set_prompts(PROMPTS[1:2])
    assert (first.over and first.over.value, first.is_wanted) == ("prompt_changed", False)
    line.answer(first)
    line.put()
    (third,) = line.pick()
    assert third.once == (once,)


def test_who_waits_for_one_answer_is_served_when_there_is_room() -> None:
    line = Line(1, (1.0, 1.0), max_rate_hz=0.01)
    line.put("a")
    (turn,) = line.pick()
    line.scheduler.ask_once(once := OnceRequest("a"))
    line.put("a")
    line.put("b")
    assert line.pick() == []
    line.answer(turn)
    (turn,) = line.pick()
    assert (turn.camera, turn.once) == ("a", (once,))


def test_prompts_and_cameras_share_the_room_evenly() -> None:
    line = Line(2, (1.0, 1.0, 1.0))
    line.scheduler.set_prompts(PROMPTS)
    asked: Counter[tuple[str, object]] = Counter()
    for _ in range(90):
        for camera in line.weights:
            line.put(camera)
        while picked := line.pick():
            asked.update((turn.camera, turn.prompt) for turn in picked)
            line.now_s += 0.01  # past the rate gate
        line.answer(line.active[0])
    assert len(asked) == 9
    assert max(asked.values()) - min(asked.values()) <= 1


OPERATIONS = st.lists(st.tuples(st.sampled_from("pppkkkkaaaaoxscw"), st.integers(0, 11)), min_size=30, max_size=120)


@settings(max_examples=150)
@given(
    policy=st.sampled_from(["newest", "every", "on_demand"]),
    room=st.integers(1, 4),
    weights=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=3),
    max_rate_hz=st.sampled_from([5.0, 1000.0]),
    operations=OPERATIONS,
)
def test_whatever_happens_the_order_holds_and_nothing_is_asked_twice(
    policy: str, room: int, weights: list[float], max_rate_hz: float, operations: list[tuple[str, int]]
) -> None:
    line = Line(room, weights, frame_policy=policy, max_rate_hz=max_rate_hz)
    scheduler, all_cameras = line.scheduler, tuple(line.weights)
    mean = sum(weights) / len(weights)
    most = {
        camera: room if weight < mean * (1.0 + 1e-6) else math.ceil(room * weight / mean + 1)
        for camera, weight in line.weights.items()
    }
    for what, value in operations:
        if what == "p":
            line.put(all_cameras[value % len(all_cameras)])
        elif what == "k":
            if not line.pick():
                # Else the worker's thread would turn round and round.
                assert scheduler.wait_s() != 0.0
        elif what == "a" and line.active:
            line.answer(line.active[value % len(line.active)])
        elif what == "o":
            scheduler.ask_once(OnceRequest(None))
        elif what == "x":
            scheduler.set_prompts(PROMPTS[value % 3 :])
        elif what == "s":
            scheduler.pause()
            assert not any(turn.is_wanted for turn in line.active)
            scheduler.resume()
        elif what == "c":
            scheduler.set_cameras({all_cameras[0]: line.weights[all_cameras[0]]})
            scheduler.set_cameras(line.weights)
        elif what == "w":
            line.now_s += 0.3
        own = Counter(turn.camera for turn in line.active)
        assert all(own[camera] <= most[camera] for camera in own)
        assert len(line.active) <= room * len(weights)
        scheduler.take_news()
    # In a round of each, what waits for another comes to its end.
    for _ in range(len(line.active)):
        for turn in tuple(line.active):
            line.answer(turn)
    assert line.active == []
    assert not scheduler.asking
    assert max(line.asked.values(), default=1) == 1
    for camera in all_cameras:
        told = [turn for turn in line.told if turn.camera == camera]
        lines = [told] if policy == "every" else [[t for t in told if t.prompt == prompt] for prompt in PROMPTS]
        for each in lines:
            assert [number_of(turn) for turn in each] == sorted(number_of(turn) for turn in each)
