"""Shares of turns, among cameras that come, go and are not always ready."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.scheduling.fair_queue import FairQueue


def fair(**weights: float) -> FairQueue:
    turns = FairQueue()
    turns.set_weights(weights)
    return turns


def test_equal_cameras_take_turns_in_a_round() -> None:
    turns = fair(a=1.0, b=1.0, c=1.0)
    given_to = [turns.next("abc") for _ in range(9)]
    assert all(sorted(given_to[start : start + 3]) == ["a", "b", "c"] for start in (0, 3, 6))


def test_weights_are_shares_and_no_turns_in_a_row_that_could_be_spread() -> None:
    turns = fair(a=3.0, b=1.0)
    given_to = "".join(turns.next("ab") for _ in range(40))
    assert Counter(given_to) == {"a": 30, "b": 10}
    assert "bb" not in given_to
    # Three in a row, and one more where marks are equal.
    assert "aaaaa" not in given_to


@pytest.mark.parametrize("weight", [0.5, 1.0, 4.0])
def test_a_camera_that_was_away_does_not_save_up_turns(weight: float) -> None:
    turns = fair(a=1.0, b=weight)
    for _ in range(1000):
        turns.next("a")
    back = Counter(turns.next("ab") for _ in range(100))
    assert back["b"] == pytest.approx(100 * weight / (1 + weight), abs=2)


def test_a_new_camera_starts_as_one_of_them() -> None:
    turns = fair(a=1.0, b=1.0)
    for _ in range(101):
        turns.next("ab")
    turns.set_weights({"a": 1.0, "b": 1.0, "c": 1.0})
    assert Counter(turns.next("abc") for _ in range(30)) == {"a": 10, "b": 10, "c": 10}


@given(
    weights=st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.05, 20.0), min_size=1),
    away=st.lists(st.sampled_from("abcdefgh"), max_size=200),
)
def test_whatever_went_before_shares_follow_the_weights(weights: dict[str, float], away: list[str]) -> None:
    turns = fair(**weights)
    for camera in away:
        if camera in weights:
            turns.next([camera])
    total, count = sum(weights.values()), 400
    served = Counter(turns.next(weights) for _ in range(count))
    for camera, weight in weights.items():
        # Off by one turn of its own, and by one that it may have had just before.
        assert served[camera] == pytest.approx(count * weight / total, abs=2 + len(weights) * weight / total)
