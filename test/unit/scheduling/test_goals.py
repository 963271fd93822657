"""Questions that somebody waits for, beside the standing prompts."""

from __future__ import annotations

from collections import Counter

import pytest
from scheduler_bench import SchedulerBench as Bench
from worker_bench import pending_frame

from vlm_perception.engines.base import EngineState
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scheduling.goals import Goal
from vlm_perception.types import DropCause


def goal(text: str = "mug", camera: str | None = None, number: int | None = None) -> Goal:
    """A goal about a camera's next frame, or about one that it brings along."""
    return Goal(build_prompt(text), camera, None if number is None else pending_frame("", number, 0.0))


def told(b: Bench) -> list[str]:
    """Why goals are refused now."""
    return [reason for _, reason in b.turns.take_news().refused]


def test_it_is_asked_about_the_first_frame_that_comes_after_it() -> None:
    b, asked = Bench(prompts=""), goal()
    b.put("a", 1)
    b.turns.ask(asked)
    assert b.pick() == []
    assert not asked.picked
    b.put("a", 2)
    b.put("a", 3)
    (turn,) = b.pick(5)
    assert (turn.goal, turn.prompt, turn.pending.read().header.stamp_sec) == (asked, asked.prompt, 2)
    assert asked.picked
    assert b.pick() == []


@pytest.mark.parametrize("change", ["pause", "on_demand", "no prompt", "rate"])
def test_nothing_that_holds_the_prompts_up_holds_it_up(change: str) -> None:
    b = Bench(prompts="" if change == "no prompt" else "cup", max_rate_hz=0.01)
    b.put("a", 1)
    b.turns.done(b.pick())
    if change == "pause":
        b.turns.pause()
    if change == "on_demand":
        b.turns.apply(b.settings(frame_policy="on_demand"))
    b.turns.ask(goal())
    b.put("a", 2)
    assert [turn.goal is not None for turn in b.pick(5)] == [True]


def test_its_own_frame_needs_no_camera_and_a_camera_that_is_named_is_waited_for() -> None:
    b = Bench("ab", prompts="")
    b.turns.ask(goal("own", number=7))
    b.turns.ask(goal("b only", camera="b"))
    b.put("a", 1)
    assert [turn.pending.read().header.stamp_sec for turn in b.pick(5)] == [7]
    b.put("b", 2)
    assert [turn.prompt.text for turn in b.pick(5)] == ["b only"]


def test_all_goals_together_have_the_share_of_one_camera_and_come_in_their_order() -> None:
    b = Bench("ab")
    for number in range(30):
        b.turns.ask(goal(f"goal {number}", number=number))
    counts, goals = Counter[str](), []
    for number in range(1, 31):
        b.put("a", number), b.put("b", number)
        (turn,) = b.pick()
        counts["goal" if turn.goal else turn.camera] += 1
        goals += [turn.prompt.text] if turn.goal else []
        b.turns.done([turn])
        b.now_s += 0.01
    assert counts == {"a": 10, "b": 10, "goal": 10}
    assert goals == [f"goal {number}" for number in range(10)]


def test_with_room_for_several_at_once_goals_take_none_of_the_cameras_places() -> None:
    b = Bench()
    b.turns.room = 2
    for number in range(5):
        b.turns.ask(goal(number=number))
        b.put("a", number)
    first = b.pick(10)
    b.now_s += 0.01
    b.put("a", 9)
    assert Counter(turn.goal is None for turn in [*first, *b.pick(10)]) == {True: 2, False: 2}


def test_a_change_of_the_prompts_does_not_end_it_and_it_overtakes_nothing() -> None:
    b = Bench(prompts='["cup", "mug"]')
    b.turns.room = 3
    b.put("a", 1)
    (standing,) = b.pick()
    b.turns.ask(goal())
    b.put("a", 2)
    own = next(turn for turn in b.pick(2) if turn.goal)
    b.turns.overtake(own)
    assert (standing.over, b.turns.must_wait(own)) == (None, False)
    b.ask("jug")
    b.turns.pause()
    assert (standing.over, own.over) == (DropCause.PROMPT_CHANGED, None)


def test_a_frame_asked_about_by_a_goal_alone_does_not_count_as_asked_about() -> None:
    b = Bench(prompts="")
    b.turns.ask(goal())
    b.put("a", 1)
    turns = b.pick()
    assert b.turns.last_asked_s("a") == 0.0
    b.turns.done(turns)
    assert b.turns.last_asked_s("a") == 0.0


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (lambda b, asked: b.turns.withdraw(asked), DropCause.NOT_ASKED),
        (lambda b, asked: b.turns.deactivate(), DropCause.INACTIVE),
        (lambda b, asked: b.turns.stop(), DropCause.STOPPED),
        (lambda b, asked: b.turns.set_cameras({"b": 1.0}), DropCause.CAMERA_GONE),
    ],
)
def test_what_ends_it(end, cause: DropCause) -> None:
    b, running, waiting = Bench(prompts=""), goal(camera="a"), goal(camera="a")
    b.turns.ask(running)
    b.put("a", 1)
    (turn,) = b.pick()
    b.turns.ask(waiting)
    end(b, running)
    assert (turn.over, turn.is_wanted) == (cause, False)
    assert len(told(b)) == (cause is not DropCause.NOT_ASKED)


@pytest.mark.parametrize(
    ("prepare", "camera", "reason"),
    [
        (lambda b: None, "z", "there is no camera z; known cameras: a"),
        (lambda b: b.turns.set_cameras({}), None, "there is no camera; known cameras: none; set image_topics"),
        (lambda b: b.turns.deactivate(), None, "the node is not active"),
        (lambda b: setattr(b.turns, "engine_state", EngineState.FAILED), None, "the model cannot be used"),
    ],
)
def test_a_hopeless_one_is_refused(prepare, camera: str | None, reason: str) -> None:
    b = Bench()
    prepare(b)
    b.turns.ask(goal(camera=camera))
    (said,) = told(b)
    assert said.startswith(reason)
    assert told(b) == []


def test_one_that_is_withdrawn_before_its_turn_is_never_asked() -> None:
    b, asked = Bench(prompts=""), goal(number=1)
    b.turns.ask(asked)
    b.turns.withdraw(asked)
    assert told(b) == ["it was withdrawn before the model was asked"]
    assert b.pick() == []


def test_when_its_camera_goes_before_its_turn_it_waits_for_another() -> None:
    b, asked = Bench("ab", prompts=""), goal()
    b.turns.ask(asked)
    b.put("a", 1)
    b.turns.set_cameras({"b": 1.0})
    assert b.pick() == []
    b.put("b", 2)
    assert [turn.camera for turn in b.pick()] == ["b"]


@pytest.mark.parametrize(
    ("stamp_s", "comes_s", "found_s"),
    [
        (5.0, [4.0, 5.0, 6.0], 5.0),
        (5.0, [4.95, 5.03], 5.03),
        (5.0, [4.97, 5.05], 4.97),
        (5.0, [4.95, 6.0], 4.95),
        (5.0, [5.1], 5.1),
        (5.0, [4.0, 5.2], "the first one after it is of 5.200"),
        (5.0, [4.0, 4.99], None),
    ],
)
def test_the_image_of_a_stamp_to_come_is_the_nearest(
    stamp_s: float, comes_s: list[float], found_s: float | str | None
) -> None:
    b = Bench(prompts="")
    asked = Goal(build_prompt("mug"), "a", stamp_ns=round(stamp_s * 1e9))
    b.turns.ask(asked)
    for at_s in comes_s:
        frame = pending_frame("a", 0, b.now_s)
        frame.stamp_ns = round(at_s * 1e9)
        b.turns.put(frame)
    if isinstance(found_s, str):
        (said,) = told(b)
        assert said.startswith("no image within 0.1 s of stamp 5.000 came")
        assert found_s in said
    else:
        turns = b.pick()
        assert [turn.pending.stamp_ns for turn in turns] == ([] if found_s is None else [round(found_s * 1e9)])
