"""Questions that somebody waits for, in real threads, with an engine that ends each answer when it is told to."""

from __future__ import annotations

import numpy as np
import pytest
from concurrent_engine import ConcurrentEngine
from scripted_engine import PATIENCE_S, ScriptedEngine
from worker_bench import WorkerBench, pending_frame

from vlm_perception.errors import ImageError, InferenceError, NoAnswerError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scheduling.goals import Goal
from vlm_perception.types import Result

RGB = np.zeros((120, 320, 3), np.uint8)
FIRST = '[{"bbox_2d": [10, 40, 50, 80], "label": "mug"}'
REST = ', {"bbox_2d": [100, 40, 150, 80], "label": "mug"}]'


@pytest.fixture
def bench():
    """Make a worker at work."""
    made: list[WorkerBench] = []

    def make(engine, **given) -> WorkerBench:
        made.append(WorkerBench(engine, rgb=RGB, **given))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        assert each.worker.stop(PATIENCE_S)


def own(number: int = 7, failure: Exception | None = None, **given) -> Goal:
    return Goal(build_prompt("mug"), frame=pending_frame("", number, 0.0, failure, RGB), **given)


def answer(goal: Goal) -> Result:
    return goal.future.result(PATIENCE_S)


def refusal(goal: Goal) -> str:
    with pytest.raises(NoAnswerError) as refused:
        goal.future.result(PATIENCE_S)
    return str(refused.value)


def test_the_answer_goes_to_who_asked_and_to_nobody_else(bench) -> None:
    b = bench(ScriptedEngine(FIRST + REST), prompts="")
    b.worker.pause()
    parts: list[int] = []
    goal = own(on_partial=lambda result: parts.append(len(result.objects)))
    b.worker.ask(goal)
    result = answer(goal)
    assert (result.request.prompt.text, result.request.frame.header.stamp_sec) == ("mug", 7)
    assert (len(result.objects), parts) == (2, [1, 2])
    assert (b.results, b.partials, b.drops) == ([], [], [])


def test_a_goal_and_the_prompts_do_not_disturb_each_other(bench) -> None:
    b, goal = bench(ConcurrentEngine(), prompts="cup"), own()
    b.offer(1)
    standing = b.engine.call(1)
    b.worker.ask(goal)
    call = b.engine.call(7, camera="")
    b.ask("jug")
    assert standing.over.wait(PATIENCE_S)
    call.write(FIRST + REST)
    call.end()
    assert len(answer(goal).objects) == 2
    b.wait(lambda: b.causes == ["prompt_changed"])


@pytest.mark.parametrize("end", ["withdraw", "deactivate"])
def test_one_that_is_ended_keeps_what_was_complete(bench, end: str) -> None:
    b = bench(ConcurrentEngine(), prompts="")
    goal = own()
    b.worker.ask(goal)
    call = b.engine.call(7, camera="")
    call.write(FIRST)
    b.worker.withdraw(goal) if end == "withdraw" else b.worker.deactivate()
    result = answer(goal)
    assert (result.answer.finish_reason, len(result.objects), call.aborted) == ("aborted", 1, True)


def test_every_goal_hears_why_there_is_no_answer(bench) -> None:
    engine = ScriptedEngine()
    b = bench(engine, prompts="")
    unreadable, failing, elsewhere = (
        own(failure=ImageError("cut off", cause="truncated")),
        own(),
        Goal(build_prompt("mug"), "z"),
    )
    b.worker.ask(unreadable)
    assert "cut off" in refusal(unreadable)
    engine.error = InferenceError("the model hiccuped")
    b.worker.ask(failing)
    assert "the model hiccuped" in refusal(failing)
    b.worker.ask(elsewhere)
    assert "there is no camera z" in refusal(elsewhere)
    assert b.causes == ["truncated", "inference_error"]


def test_two_goals_about_one_frame_that_cannot_be_read_both_hear_it(bench) -> None:
    b = bench(ScriptedEngine(), prompts="")
    frame = pending_frame("", 7, 0.0, ImageError("cut off", cause="truncated"), RGB)
    goals = [Goal(build_prompt("mug"), frame=frame) for _ in range(2)]
    for goal in goals:
        b.worker.ask(goal)
    assert all("read" in refusal(goal) or "cut off" in refusal(goal) for goal in goals)
    assert b.causes == ["truncated"]


def test_those_that_wait_hear_that_the_worker_is_stopped(bench) -> None:
    b = bench(ScriptedEngine(), prompts="")
    goal = Goal(build_prompt("mug"), "a")
    b.worker.ask(goal)
    b.worker.stop(PATIENCE_S)
    assert "stopped" in refusal(goal)
