"""What the benchmark of scores measures, on answers small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.scores import by_threshold, calibration_error, collect, measure
from training.scored import Asked, Found
from vlm_perception.replies.token_evidence import Evidence


def box(score: float, right: bool) -> Found:
    """A box whose every formula gives this score: one digit and nothing else."""
    return Found(Evidence((math.log(score),)), right, is_box=True)


# Four expected boxes, of which three are found; one wrong box beside them and one for an absent thing.
ASKED = [
    Asked(0, False, 3, (box(0.9, True), box(0.8, False), box(0.7, True))),
    Asked(1, False, 1, (box(0.5, True),)),
    Asked(1, True, 0, (box(0.35, False),)),
    Asked(1, True, 0, ()),
]


def test_average_precision_and_auroc_by_hand() -> None:
    got = measure(collect(ASKED), "coordinate_mean", np.ones(2))
    # Each of the three right boxes adds a quarter of recall, at precision 1/1, 2/3 and 3/4.
    assert got["ap"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    # Of six pairs of a right and a wrong box, 0.7 and 0.5 stand below 0.8.
    assert got["auroc"] == pytest.approx(4 / 6)


def test_a_scene_that_is_drawn_twice_counts_twice() -> None:
    got = measure(collect(ASKED), "coordinate_mean", np.array([2.0, 0.0]))
    assert got["ap"] == pytest.approx((1 + 2 / 3) / 3)
    assert got["auroc"] == pytest.approx(1 / 2)


def test_calibration_error_by_hand() -> None:
    scores = np.array([0.95, 0.95, 0.25, 1.0])
    right = np.array([True, False, False, True])
    # The last bin holds 0.95, 0.95 and 1.0 with two of three right, the third holds 0.25 with none.
    expected = (3 / 4) * abs((0.95 + 0.95 + 1.0) / 3 - 2 / 3) + (1 / 4) * 0.25
    assert calibration_error(scores, right, np.ones(4)) == pytest.approx(expected)
    assert calibration_error(right.astype(float), right, np.ones(4)) == 0.0


def test_thresholds_by_hand() -> None:
    rows = {row["threshold"]: row for row in by_threshold(ASKED, lambda score: score)}
    assert rows[0.0] == {"threshold": 0.0, "rejection": 0.5, "recall": 0.75, "precision": 0.6}
    assert rows[0.4] == {"threshold": 0.4, "rejection": 1.0, "recall": 0.75, "precision": 0.75}
    assert rows[0.6]["recall"] == 0.5
    halved = {row["threshold"]: row for row in by_threshold(ASKED, lambda score: score / 2)}
    assert halved[0.3]["recall"] == rows[0.6]["recall"]
