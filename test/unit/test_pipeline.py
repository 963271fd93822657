"""The data path around an engine that gives a fixed answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vlm_perception.engines.base import Engine, OnText, ignore_text
from vlm_perception.errors import InferenceError
from vlm_perception.pipeline import perceive
from vlm_perception.replies.scores import score_objects
from vlm_perception.types import (
    Answer,
    FinishReason,
    Frame,
    FrameHeader,
    PixelBudget,
    Prompt,
    Request,
    Task,
    Timings,
    Token,
)

CAT = '{"bbox_2d": [10, 20, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [50, 60, 70, 80], "label": "dog"}'


class FixedEngine:
    """Answers every request with the same text, sure of the first object and unsure of the others."""

    name = "fixed"

    def __init__(self, text: str, finish_reason: FinishReason = "stop") -> None:
        self.text, self.finish_reason = text, finish_reason

    def load(self) -> None: ...

    def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
        if should_stop():
            return Answer("", (100, 100), "absolute", "aborted", (), Timings(0, 0, 0))
        first_end = self.text.find("}") + 1
        tokens = tuple(Token(i, i + 1, -0.05 if i < first_end else -3.0) for i in range(len(self.text)))
        return Answer(self.text, (100, 100), "absolute", self.finish_reason, tokens, Timings(0, 0, 0))

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


class BrokenEngine(FixedEngine):
    def answer(self, request: Request, should_stop: Callable[[], bool], on_text: OnText = ignore_text) -> Answer:
        raise InferenceError("out of memory")


def request(task: Task = Task.DETECT, targets: tuple[str, ...] = ("animal",)) -> Request:
    frame = Frame(np.zeros((200, 400, 3), np.uint8), FrameHeader(1, 2, "cam"), "/image", 0.0)
    return Request(frame, Prompt("the animals", task, "Locate ...", targets), PixelBudget(3136, 10**6), 64)


def test_objects_come_back_scaled_and_scored() -> None:
    engine: Engine = FixedEngine(f"[{CAT}, {DOG}]")
    result = perceive(engine, request())
    assert [found.label for found in result.objects] == ["cat", "dog"]
    assert result.objects[0].xyxy == (40.0, 40.0, 120.0, 80.0)
    # The scores themselves are the matter of test_scores.py.
    assert result.objects == score_objects(result.objects, result.answer)
    sure, unsure = (found.score for found in result.objects)
    assert 1 > sure > unsure > 0
    assert result.request.frame.header == FrameHeader(1, 2, "cam")
    assert result.count is None


def test_objects_under_the_threshold_become_rejects_that_say_so() -> None:
    engine = FixedEngine(f"[{CAT}, {DOG}]")
    sure = perceive(engine, request()).objects[0].score
    result = perceive(engine, request(), score_threshold=sure - 0.001)
    assert [found.label for found in result.objects] == ["cat"]
    assert result.rejects[0].text == DOG
    assert f"score_threshold {sure - 0.001:.3f}" in result.rejects[0].reason
    assert len(perceive(engine, request(), score_threshold=sure).objects) == 1, "as sure as asked for"


def test_unnamed_objects_carry_what_was_asked() -> None:
    unnamed = '{"bbox_2d": [10, 20, 30, 40]}'
    assert perceive(FixedEngine(unnamed), request()).objects[0].label == "animal"
    assert perceive(FixedEngine(unnamed), request(targets=("cat", "dog"))).objects[0].label == "the animals"


# reply, how it ended, count
COUNTS: list[tuple[str, FinishReason, int | None]] = [
    (f"[{CAT}, {DOG}]\nThere are 3 animals.", "stop", 3),  # what is said wins over what is listed
    (f"[{CAT}, {DOG}]", "stop", 2),  # a finished list is a count
    ("[]", "stop", 0),
    (f"[{CAT}, {DOG}", "length", None),  # a cut-off list is not
    ("I cannot tell.", "stop", None),
    ('[{"bbox_2d": null}]', "stop", None),
]


@pytest.mark.parametrize(("text", "finish_reason", "count"), COUNTS)
def test_counting(text: str, finish_reason: FinishReason, count: int | None) -> None:
    assert perceive(FixedEngine(text, finish_reason), request(Task.COUNT)).count == count


def test_only_counting_questions_are_counted() -> None:
    assert perceive(FixedEngine(f"[{CAT}]\nThere are 3."), request()).count is None


def test_text_only_answers_are_kept() -> None:
    result = perceive(FixedEngine("A red cart beside a face."), request(Task.DESCRIBE))
    assert (result.objects, result.text) == ((), "A red cart beside a face.")


def test_an_aborted_answer_is_a_result_without_objects() -> None:
    result = perceive(FixedEngine(f"[{CAT}]"), request(), should_stop=lambda: True)
    assert (result.objects, result.answer.finish_reason) == ((), "aborted")


def test_a_failing_engine_is_not_hidden() -> None:
    with pytest.raises(InferenceError):
        perceive(BrokenEngine(""), request())
