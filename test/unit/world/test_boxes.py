from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.world.boxes import iou, match_boxes

BOXES = st.tuples(*[st.floats(0, 100)] * 4).map(
    lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3]))
)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),  # they only touch
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),
        ((3, 3, 3, 3), (3, 3, 3, 3), 0.0),  # points have no area
    ],
)
def test_iou(a, b, expected):
    assert iou(a, b) == pytest.approx(expected)


def test_the_best_overlap_is_matched_first_and_only_once():
    truths = [(0, 0, 10, 10), (20, 0, 30, 10)]
    found = [(1, 0, 11, 10), (0, 0, 10, 10), (50, 50, 60, 60)]
    assert match_boxes(found, truths) == ((1, 0, 1.0),)


@given(found=st.lists(BOXES, max_size=6), truths=st.lists(BOXES, max_size=6))
def test_matches_are_one_to_one_and_overlap(found, truths):
    matches = match_boxes(found, truths)
    assert len({m[0] for m in matches}) == len({m[1] for m in matches}) == len(matches)
    assert all(0 < overlap <= 1 + 1e-9 and overlap == iou(found[i], truths[j]) for i, j, overlap in matches)
