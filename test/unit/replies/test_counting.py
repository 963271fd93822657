"""The number of a counting answer, and whether its list agrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.counting import Count, count_answer, count_of
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import Answer, DetectedObject, FinishReason, Task, Timings

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


# prose, objects listed, number
COUNTS: list[tuple[str, int, int | None]] = [
    ("There are 3 circles.", 3, 3),
    ("There are three circles.", 0, 3),
    ("There is one cat.", 1, 1),
    ("Twenty-three owls", 0, 23),
    ("There are no cats.", 0, 0),
    ("None.", 0, 0),
    ("zero", 0, 0),
    ("a dozen eggs", 0, 12),
    ("3 red and 2 green apples, 5 in total.", 0, 5),  # the total wins over its parts
    ("A total of 6 eyes: each of the three owls has two.", 3, 6),  # the total wins over the list, too
    ("Each of the 3 owls has 2 eyes, so there are 6.", 6, 6),  # the number that agrees with the list
    ("2 of the 7 are red", 0, 2),  # nothing to agree with: the first
    ("count: 4", 4, 4),  # said by a wrapper
    ("1. red cart\n2. blue cart\nSo there are 2 carts.", 0, 2),  # list markers are no counts
    ("The 1st and the 2nd are red.", 0, None),  # nor are ordinals
    ("It is 2.5 m away.", 0, None),  # nor decimals
    ("50% sure", 0, None),
    ("x1 and y2", 0, None),  # nor parts of names
    ("图中一共有三个红色的圆。", 3, 3),  # 一共 is "in all", not one
    ("共有12个", 0, 12),
    ("有两只猫", 0, 2),
    ("十二个", 0, 12),
    ("二十三只", 0, 23),
    ("一百零五个", 0, 105),
    ("没有", 0, 0),
    ("第一个是红色的", 0, None),  # the first one is red
    ("A red cart.", 1, None),
    ("sıx ſeven", 0, None),  # i and s to a pattern without case
    ("", 0, None),
]


@pytest.mark.parametrize(("text", "listed", "number"), COUNTS)
def test_counts(text: str, listed: int, number: int | None) -> None:
    objects = [DetectedObject(f"o{i}", (0, 0, 1, 1), None) for i in range(listed)]
    assert count_of(text, objects) == number


@given(st.text() | st.text(alphabet="一二三十百共计total 0123456789.,-\nfivetwenty"))
def test_no_text_raises(text: str) -> None:
    number = count_of(text, ())
    assert number is None or number >= 0
