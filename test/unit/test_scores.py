"""Scores from token log-probabilities."""

from __future__ import annotations

import math

import pytest

from vlm_perception.answers import coordinate_ranges, parse_answer
from vlm_perception.scores import score_objects
from vlm_perception.types import Answer, Timings, Token

WH = (1000, 1000)


def answer_of(text: str, logprobs: dict[int, float], *, default: float = -5.0, width: int = 1) -> Answer:
    """One token per `width` characters; `logprobs` by index of the token's first character."""
    tokens = tuple(
        Token(start, min(start + width, len(text)), logprobs.get(start, default))
        for start in range(0, len(text), width)
    )
    return Answer(text, WH, "absolute", "stop", tokens, Timings(0, 0, 0))


def scores_of(answer: Answer) -> list[float | None]:
    parsed = parse_answer(answer.text, model_wh=WH, image_wh=WH)
    return [found.score for found in score_objects(parsed.objects, answer)]


# what the form looks like, text, its coordinate digits
FORMS = [
    ("json", '{"bbox_2d": [11, 12, 13, 14], "label": "car 7", "id": 9}', "11121314"),  # no 2 of the key, no 7, no 9
    ("label first", '{"label": "car 7", "bbox_2d": [11, 12, 13, 14]}', "11121314"),
    ("point", '{"point_2d": [11, 12], "label": "3"}', "1112"),
    ("tag", '<points x1="11" y1="12" alt="wheel 5">wheel 5</points>', "1112"),  # no 1 of x1 and y1
    ("line", "11,12,13,14 car 7", "11121314"),
    ("bare", "It is at [11, 12, 13, 14].", "11121314"),
    ("nested", '{"bbox_2d": [11, 12, 13, 14], "parts": [{"point_2d": [12, 13]}]}', "11121314"),
]


@pytest.mark.parametrize(("text", "digits"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_only_coordinate_tokens_count(text: str, digits: str) -> None:
    objects = parse_answer(text, model_wh=WH, image_wh=WH).objects
    span, outer = min((found.span, index) for index, found in enumerate(objects))
    ranges = coordinate_ranges(text, span)
    assert "".join(c for part in ranges for c in text[slice(*part)] if c.isdigit()) == digits
    inside = {i: -0.5 for part in ranges for i in range(*part) if text[i].isdigit()}
    assert scores_of(answer_of(text, inside))[outer] == pytest.approx(math.exp(-0.5))


def test_score_is_the_geometric_mean_of_its_tokens() -> None:
    text = '{"bbox_2d": [1, 2, 3, 4], "label": "a"}'
    at = [text.index(f"{n}", 11) for n in (1, 2, 3, 4)]
    logprobs = dict(zip(at, [-0.1, -0.2, -0.3, -0.4], strict=True))
    assert scores_of(answer_of(text, logprobs)) == [pytest.approx(math.exp(-0.25))]


def test_each_object_has_its_own_score() -> None:
    first, second = '{"bbox_2d": [1, 2, 3, 4]}', '{"bbox_2d": [5, 6, 7, 8]}'
    text = f"[{first}, {second}]"
    sure = dict.fromkeys(range(1, 1 + len(first)), -0.01)
    got = scores_of(answer_of(text, sure))
    assert got == [pytest.approx(math.exp(-0.01)), pytest.approx(math.exp(-5.0))]


def test_tokens_longer_than_a_digit_count_where_they_hold_one() -> None:
    text = '{"bbox_2d": [111, 222, 333, 444]}'
    assert scores_of(answer_of(text, {}, default=-0.7, width=3)) == [pytest.approx(math.exp(-0.7))]


def test_no_tokens_give_no_score() -> None:
    text = '{"bbox_2d": [1, 2, 3, 4]}'
    assert scores_of(Answer(text, WH, "absolute", "stop", (), Timings(0, 0, 0))) == [None]


@pytest.mark.parametrize("broken", [float("nan"), float("-inf")])
def test_broken_log_probabilities_give_no_score(broken: float) -> None:
    assert scores_of(answer_of('{"bbox_2d": [1, 2, 3, 4]}', {}, default=broken)) == [None]


def test_score_never_exceeds_one() -> None:
    assert scores_of(answer_of('{"bbox_2d": [1, 2, 3, 4]}', {}, default=1e-7)) == [1.0]
