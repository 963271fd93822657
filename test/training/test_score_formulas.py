"""Each formula that the benchmark compares, on numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.score_formulas import FORMULAS, score_by
from vlm_perception.replies.scores import FORMULA
from vlm_perception.replies.token_evidence import Evidence

# Probabilities 0.5 and 0.8 of the digits, 0.9 and 0.4 of the label's tokens, 0.75 and 1 of the beginning.
FULL = Evidence(
    (math.log(0.5), math.log(0.8)),
    (math.log(0.9), math.log(0.4)),
    (math.log(0.75), 0.0),
)
BARE = Evidence(FULL.coordinates)
MEAN = math.sqrt(0.4)

# formula, with everything there, without beginning, without label, with coordinates alone
BY_HAND = [
    ("coordinate_mean", MEAN, MEAN, MEAN, MEAN),
    ("coordinate_product", 0.4, 0.4, 0.4, 0.4),
    ("coordinate_min", 0.5, 0.5, 0.5, 0.5),
    ("label_mean", 0.6, 0.6, MEAN, MEAN),
    ("label_product", 0.36, 0.36, MEAN, MEAN),
    ("begin", 0.75, MEAN, 0.75, MEAN),
    ("coordinate_begin", math.sqrt(MEAN * 0.75), MEAN, math.sqrt(MEAN * 0.75), MEAN),
    ("label_begin", 0.36 * 0.75, 0.36, 0.75, MEAN),
    ("all_mean", (0.4 * 0.36 * 0.75) ** (1 / 6), (0.4 * 0.36) ** (1 / 4), (0.4 * 0.75) ** (1 / 4), MEAN),
    ("three_product", MEAN * 0.36 * 0.75, MEAN * 0.36, MEAN * 0.75, MEAN),
]


@pytest.mark.parametrize("row", BY_HAND, ids=[row[0] for row in BY_HAND])
def test_formulas_by_hand(row: tuple[str, float, float, float, float]) -> None:
    """Parts that are missing are left out; nothing is invented for them."""
    formula, *wanted = row
    evidences = [FULL, replace(FULL, begin=()), replace(FULL, label=()), BARE]
    assert [score_by(formula, evidence) for evidence in evidences] == pytest.approx(wanted)
    assert score_by(formula, replace(FULL, coordinates=())) is None


def test_every_formula_is_tested_by_hand() -> None:
    assert list(FORMULAS) == [row[0] for row in BY_HAND]
    assert FORMULA in FORMULAS


LOGPROBS = st.lists(st.floats(-50.0, 0.0), max_size=6).map(tuple)
EVIDENCE = st.builds(Evidence, st.lists(st.floats(-9.0, 1e-6), min_size=1, max_size=9).map(tuple), LOGPROBS, LOGPROBS)


@given(EVIDENCE)
def test_scores_lie_between_0_and_1_and_a_surer_digit_never_lowers_them(evidence: Evidence) -> None:
    surer = replace(evidence, coordinates=(max(0.0, evidence.coordinates[0]), *evidence.coordinates[1:]))
    for formula in FORMULAS:
        before, after = score_by(formula, evidence), score_by(formula, surer)
        assert before is not None
        assert after is not None
        assert 0.0 <= before <= 1.0
        assert after >= before * (1 - 1e-9)
