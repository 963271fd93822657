"""How things stand to each other, by their boxes."""

from __future__ import annotations

import pytest

from vlm_perception.scenes.relations import (
    RELATIONS,
    biggest,
    loneliest,
    nearest,
    odd_one_out,
    said_best,
    smallest,
)
from vlm_perception.types import XYXY

SIDE = 100.0
LEFT: XYXY = (10, 40, 20, 50)
RIGHT: XYXY = (60, 42, 90, 62)
HIGH: XYXY = (62, 5, 72, 15)


@pytest.mark.parametrize(
    ("relation", "a", "b", "holds"),
    [
        ("left of", LEFT, RIGHT, True),
        ("left of", RIGHT, LEFT, False),
        ("left of", HIGH, (60, 50, 80, 60), None),
        ("right of", RIGHT, LEFT, True),
        ("above", HIGH, RIGHT, True),
        ("below", RIGHT, HIGH, True),
        ("above", LEFT, (60, 42, 80, 52), None),
        ("inside", (65, 45, 75, 55), RIGHT, True),
        ("inside", RIGHT, (65, 45, 75, 55), False),
        ("inside", (55, 45, 66, 55), RIGHT, None),
        ("inside", LEFT, RIGHT, False),
        ("on top of", (65, 32, 80, 41), RIGHT, True),
        ("on top of", (65, 2, 80, 12), RIGHT, False),
        ("on top of", (50, 32, 66, 41), RIGHT, None),
        ("on top of", (10, 32, 20, 41), RIGHT, False),
    ],
)
def test_a_relation_holds_or_not_or_is_too_close_to_call(relation: str, a: XYXY, b: XYXY, holds: bool | None) -> None:
    assert RELATIONS[relation](a, b, SIDE) is holds


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (LEFT, RIGHT, "left of"),
        (HIGH, RIGHT, "above"),
        ((65, 45, 75, 55), RIGHT, "inside"),
        ((65, 32, 80, 41), RIGHT, "on top of"),
        ((0, 0, 10, 10), (50, 50, 60, 60), None),
        ((0, 0, 10, 10), (2, 2, 12, 12), None),
    ],
)
def test_the_relation_that_says_most_is_said(a: XYXY, b: XYXY, said: str | None) -> None:
    assert said_best(a, b, SIDE) == said


def test_one_of_several_must_be_clearly_ahead() -> None:
    boxes = [LEFT, RIGHT, HIGH]
    assert (biggest(boxes), smallest(boxes)) == (1, None)
    assert smallest([LEFT, RIGHT]) == 0
    assert biggest([LEFT]) is None
    assert nearest([LEFT, HIGH], RIGHT) == 1
    assert nearest([LEFT, HIGH], (38, 20, 48, 30)) is None
    assert loneliest([(0, 0, 2, 2), (4, 0, 6, 2), (90, 90, 92, 92)]) == 2
    assert loneliest([LEFT, RIGHT]) is None


@pytest.mark.parametrize(
    ("labels", "odd"),
    [
        (["red circle", "red circle", "blue square"], 2),
        (["red circle", "blue square", "blue square", "blue square"], 0),
        (["red circle", "blue square"], None),
        (["red circle", "blue square", "green cart"], None),
        (["red circle", "red circle", "red circle"], None),
        (["red circle", "red circle", "blue square", "blue square"], None),
    ],
)
def test_the_odd_one_differs_where_all_others_are_the_same(labels: list[str], odd: int | None) -> None:
    assert odd_one_out(labels) == odd
