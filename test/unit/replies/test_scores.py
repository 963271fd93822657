"""Scores from token log-probabilities, and their calibration, on numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.reader import parse_answer
from vlm_perception.replies.scores import (
    FORMULA,
    are_calibrated,
    calibrated,
    log_odds,
    raw_score,
    score_objects,
)
from vlm_perception.replies.token_evidence import Evidence
from vlm_perception.types import Answer, Calibration, DetectedObject, Timings, Token

WH = (1000, 1000)
# Probabilities 0.5 and 0.8 of the digits, 0.9 and 0.4 of the label's tokens, 0.75 and 1 of the beginning.
FULL = Evidence(
    (math.log(0.5), math.log(0.8)),
    (math.log(0.9), math.log(0.4)),
    (math.log(0.75), 0.0),
)


def test_the_formula_by_hand() -> None:
    assert raw_score(FULL) == pytest.approx(math.sqrt(0.4) * 0.36 * 0.75)
    assert raw_score(Evidence(FULL.coordinates)) == pytest.approx(math.sqrt(0.4))
    assert raw_score(Evidence((), FULL.label, FULL.begin)) is None
    text = (math.log(0.5), math.log(0.2), math.log(0.8))
    assert raw_score(Evidence(FULL.coordinates, text=text)) == pytest.approx(math.sqrt(0.4) * 0.08 ** (1 / 3))
    assert raw_score(Evidence((), text=text)) is None


def answer_of(text: str, calibration: Calibration | None = None, logprob: float = -0.5) -> Answer:
    """One token a character, all as sure."""
    tokens = tuple(Token(start, start + 1, logprob) for start in range(len(text)))
    return Answer(text, WH, "absolute", "stop", tokens, Timings(0, 0, 0), calibration)


def scored(answer: Answer) -> tuple[DetectedObject, ...]:
    return score_objects(parse_answer(answer.text, model_wh=WH, image_wh=WH).objects, answer)


TWO = '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [5, 6, 7, 8], "label": "b"}]'


@pytest.mark.parametrize("text", [TWO, '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": "a"}'])
def test_each_box_has_its_own_score(text: str) -> None:
    answer = answer_of(text, logprob=-0.01)
    digit = text.index("7")
    unsure = tuple(replace(token, logprob=-4.0) if token.start == digit else token for token in answer.tokens)
    (first, second), (still, less) = scored(answer), scored(replace(answer, tokens=unsure))
    assert still == first
    assert less.score == pytest.approx((second.score or 0.0) * math.exp((-4.0 + 0.01) / 4))


def test_no_tokens_give_no_score() -> None:
    assert [item.score for item in scored(replace(answer_of(TWO), tokens=()))] == [None, None]


@pytest.mark.parametrize("broken", [float("nan"), float("-inf")])
def test_broken_log_probabilities_give_no_score(broken: float) -> None:
    assert [item.score for item in scored(answer_of(TWO, logprob=broken))] == [None, None]


def test_score_never_exceeds_one() -> None:
    assert [item.score for item in scored(answer_of(TWO, logprob=1e-7))] == [1.0, 1.0]


def test_calibration_by_hand() -> None:
    # ln(0.8 / 0.2) = ln 4; / 2 = ln 2; + ln 3 = ln 6; odds of 6 to 1.
    assert calibrated(0.8, Calibration("begin", 2.0, math.log(3))) == pytest.approx(6 / 7)
    assert calibrated(0.3, Calibration("begin", 1.0, 0.0)) == pytest.approx(0.3)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 100), st.floats(-50, 50))
def test_calibration_keeps_the_order_and_the_bounds(one: float, other: float, temperature: float, bias: float) -> None:
    calibration = Calibration("begin", temperature, bias)
    low, high = (calibrated(score, calibration) for score in sorted((one, other)))
    assert 0.0 <= low <= high <= 1.0
    assert math.isfinite(log_odds(one))


def test_a_fitting_calibration_is_applied_to_boxes() -> None:
    plain = scored(answer_of(TWO))[0].score
    assert plain is not None
    answer = answer_of(TWO, Calibration(FORMULA, 2.0, 1.0))
    got = scored(answer)
    expected = 1 / (1 + math.exp(-(math.log(plain / (1 - plain)) / 2.0 + 1.0)))
    assert got[0].score == pytest.approx(expected)
    assert are_calibrated(got, answer)


def test_the_calibration_of_another_formula_is_not_applied() -> None:
    answer = answer_of(TWO, Calibration("coordinate_mean", 2.0, 1.0))
    assert scored(answer) == scored(answer_of(TWO))
    assert not are_calibrated(scored(answer), answer)
    assert not are_calibrated(scored(answer_of(TWO)), answer_of(TWO))


def test_points_are_never_called_calibrated() -> None:
    text = '[{"point_2d": [1, 2], "label": "a"}]'
    answer = answer_of(text, Calibration(FORMULA, 2.0, 1.0))
    assert scored(answer) == scored(answer_of(text))
    assert not are_calibrated(scored(answer), answer)
