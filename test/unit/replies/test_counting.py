"""The number of a counting answer, and whether its list agrees."""

from __future__ import annotations

import pytest

from vlm_perception.replies.counting import Count, count_answer
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import Answer, FinishReason, Task, Timings

CAT = '{"bbox_2d": [10, 20, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [50, 60, 70, 80], "label": "dog"}'
BAD = '{"bbox_2d": [50, 60, 70], "label": "dog"}'
TWO = f"```json\n[\n\t{CAT},\n\t{DOG}\n]\n```\n"

# Reply, how it ended, the number, whether the list agrees.
REPLIES: list[tuple[str, FinishReason, int | None, bool | None]] = [
    # Said in digits, in English and in Chinese words.
    (TWO + "There are 2 animals.", "stop", 2, True),
    (TWO + "There are two animals.", "stop", 2, True),
    (TWO + "图中有两只动物。", "stop", 2, True),
    (TWO + "图中有2只动物。", "stop", 2, True),
    (TWO + "There are twenty-one animals.", "stop", 21, False),
    (TWO + "一共有十二只动物。", "stop", 12, False),
    (TWO + "In the picture with 3 trees there are 2 animals.", "stop", 2, True),
    ("[]\nThere are 0 animals.", "stop", 0, True),
    ("There are no animals.", "stop", 0, True),
    ("[]\n图中没有动物。", "stop", 0, True),
    ("There are three animals.", "stop", 3, False),  # said, but not shown
    # Not said: the list is the answer, and there is nothing to compare it with.
    (TWO, "stop", 2, None),
    ("[]", "stop", 0, None),
    # An item that cannot be used was not listed.
    (f"[{CAT}, {BAD}]\nThere are 2 animals.", "stop", 2, False),
    # Cut off: the number may still have come, the list may not be whole.
    (TWO + "There are 2 animals. They", "length", 2, True),
    (f"[{CAT}, {DOG}", "length", None, None),
    (f"[{CAT}, {DOG}", "aborted", None, None),
    ("I cannot tell.", "stop", None, None),
]


def reply(text: str, finish_reason: FinishReason = "stop") -> Answer:
    return Answer(text, (100, 100), "absolute", finish_reason, (), Timings(0.0, 0.0, 0.0))


@pytest.mark.parametrize(("text", "finish_reason", "number", "agrees"), REPLIES)
def test_number_and_agreement(text: str, finish_reason: FinishReason, number: int | None, agrees: bool | None) -> None:
    parsed = parse_answer(text, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(text, finish_reason), parsed, parsed.objects) == Count(number, agrees)


def test_the_models_number_is_compared_with_its_own_list_not_with_what_a_threshold_left() -> None:
    text = TWO + "There are 2 animals."
    parsed = parse_answer(text, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(text), parsed, parsed.objects[:1]) == Count(2, True)
    ambiguous = TWO + "In 1 of the 2 cages."
    parsed = parse_answer(ambiguous, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(ambiguous), parsed, parsed.objects[:1]) == Count(2, True)


def test_without_a_number_what_is_published_is_counted() -> None:
    parsed = parse_answer(TWO, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(Task.COUNT, reply(TWO), parsed, parsed.objects[:1]) == Count(1, None)
    assert count_answer(Task.COUNT, reply(TWO), parsed, ()) == Count(0, None)


@pytest.mark.parametrize("task", [task for task in Task if task is not Task.COUNT])
def test_other_questions_are_not_counted(task: Task) -> None:
    text = TWO + "There are 2 animals."
    parsed = parse_answer(text, model_wh=(100, 100), image_wh=(100, 100))
    assert count_answer(task, reply(text), parsed, parsed.objects) == Count()
