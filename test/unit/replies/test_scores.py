"""Scores from token log-probabilities: each formula, and its calibration, on numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.reader import parse_answer
from vlm_perception.replies.scores import (
    DEFAULT_FORMULA,
    FORMULAS,
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
BARE = Evidence(FULL.coordinates)
MEAN = math.sqrt(0.4)

# formula, with everything there, with coordinates alone
BY_HAND = [
    ("coordinate_mean", MEAN, MEAN),
    ("coordinate_product", 0.4, 0.4),
    ("coordinate_min", 0.5, 0.5),
    ("label_mean", math.sqrt(0.36), MEAN),
    ("label_product", 0.36, MEAN),
    ("begin", 0.75, MEAN),
    ("coordinate_begin", math.sqrt(MEAN * 0.75), MEAN),
    ("label_begin", 0.36 * 0.75, MEAN),
    ("all_mean", (0.4 * 0.36 * 0.75) ** (1 / 6), MEAN),
    ("three_product", MEAN * 0.36 * 0.75, MEAN),
]


@pytest.mark.parametrize(("formula", "full", "bare"), BY_HAND, ids=[row[0] for row in BY_HAND])
def test_formulas_by_hand(formula: str, full: float, bare: float) -> None:
    assert raw_score(FULL, formula) == pytest.approx(full)
    assert raw_score(BARE, formula) == pytest.approx(bare)


def test_every_formula_is_tested_by_hand() -> None:
    assert list(FORMULAS) == [row[0] for row in BY_HAND]
    assert DEFAULT_FORMULA in FORMULAS


@pytest.mark.parametrize("formula", FORMULAS)
def test_parts_that_are_missing_are_left_out(formula: str) -> None:
    """A label without a beginning, or the other way round, uses what is there and invents nothing."""
    by_label, by_begin = Evidence(FULL.coordinates, FULL.label), Evidence(FULL.coordinates, (), FULL.begin)
    expected = {
        "label_mean": (0.6, MEAN),
        "label_product": (0.36, MEAN),
        "begin": (MEAN, 0.75),
        "coordinate_begin": (MEAN, math.sqrt(MEAN * 0.75)),
        "label_begin": (0.36, 0.75),
        "all_mean": ((0.4 * 0.36) ** (1 / 4), (0.4 * 0.75) ** (1 / 4)),
        "three_product": (MEAN * 0.36, MEAN * 0.75),
    }
    alone = raw_score(BARE, formula)
    assert (raw_score(by_label, formula), raw_score(by_begin, formula)) == pytest.approx(
        expected.get(formula, (alone, alone))
    )


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_coordinates_give_no_score(formula: str) -> None:
    assert raw_score(replace(FULL, coordinates=()), formula) is None


LOGPROBS = st.lists(st.floats(-50.0, 0.0), max_size=6).map(tuple)


@given(st.builds(Evidence, st.lists(st.floats(-50.0, 1e-6), min_size=1, max_size=9).map(tuple), LOGPROBS, LOGPROBS))
def test_scores_lie_between_0_and_1(evidence: Evidence) -> None:
    for formula in FORMULAS:
        score = raw_score(evidence, formula)
        assert score is not None
        assert 0.0 <= score <= 1.0


@given(st.builds(Evidence, st.lists(st.floats(-9.0, 0.0), min_size=1, max_size=9).map(tuple), LOGPROBS, LOGPROBS))
def test_a_surer_digit_never_lowers_a_score(evidence: Evidence) -> None:
    surer = replace(evidence, coordinates=(0.0, *evidence.coordinates[1:]))
    for formula in FORMULAS:
        before, after = raw_score(evidence, formula), raw_score(surer, formula)
        assert before is not None
        assert after is not None
        assert after >= before * (1 - 1e-9)


def answer_of(text: str, calibration: Calibration | None = None, logprob: float = -0.5) -> Answer:
    """One token a character, all as sure."""
    tokens = tuple(Token(start, start + 1, logprob) for start in range(len(text)))
    return Answer(text, WH, "absolute", "stop", tokens, Timings(0, 0, 0), calibration)


def scored(answer: Answer, formula: str = DEFAULT_FORMULA) -> tuple[DetectedObject, ...]:
    return score_objects(parse_answer(answer.text, model_wh=WH, image_wh=WH).objects, answer, formula)


TWO = '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [5, 6, 7, 8], "label": "b"}]'


def test_each_object_has_its_own_score() -> None:
    answer = answer_of(TWO)
    second = TWO.index('{"bbox_2d": [5')
    tokens = tuple(replace(token, logprob=-0.01) if token.start < second - 2 else token for token in answer.tokens)
    got = [item.score for item in scored(replace(answer, tokens=tokens), "coordinate_mean")]
    assert got == [pytest.approx(math.exp(-0.01)), pytest.approx(math.exp(-0.5))]


def test_boxes_under_one_label_have_a_score_each() -> None:
    text = '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": "a"}'
    answer = answer_of(text)
    tokens = tuple(replace(t, logprob=-0.1) if t.start < text.index("]") else t for t in answer.tokens)
    got = [item.score for item in scored(replace(answer, tokens=tokens), "coordinate_mean")]
    assert got == [pytest.approx(math.exp(-0.1)), pytest.approx(math.exp(-0.5))]


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
    answer = answer_of(TWO, Calibration(DEFAULT_FORMULA, 2.0, 1.0))
    got = scored(answer)
    expected = 1 / (1 + math.exp(-(math.log(plain / (1 - plain)) / 2.0 + 1.0)))
    assert got[0].score == pytest.approx(expected)
    assert are_calibrated(got, answer)


def test_the_calibration_of_another_formula_is_not_applied() -> None:
    answer = answer_of(TWO, Calibration("coordinate_mean", 2.0, 1.0))
    assert DEFAULT_FORMULA != "coordinate_mean"
    assert scored(answer) == scored(answer_of(TWO))
    assert not are_calibrated(scored(answer), answer)
    assert not are_calibrated(scored(answer_of(TWO)), answer_of(TWO))


def test_points_are_never_called_calibrated() -> None:
    text = '[{"point_2d": [1, 2], "label": "a"}]'
    answer = answer_of(text, Calibration(DEFAULT_FORMULA, 2.0, 1.0))
    assert scored(answer) == scored(answer_of(text))
    assert not are_calibrated(scored(answer), answer)
