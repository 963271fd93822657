from __future__ import annotations

import pytest

from vlm_perception.types import DetectedObject
from vlm_perception.world.matching import match

IMAGE_WH = (640, 480)
# Two things, one in front of the other, and a third at the other end of the image.
FRONT, BEHIND, FAR = (100, 100, 200, 200), (110, 100, 210, 200), (500, 300, 600, 400)


def thing(label: str, xyxy: tuple[int, int, int, int]) -> DetectedObject:
    return DetectedObject(label, xyxy, None)


@pytest.mark.parametrize(
    ("cup", "plate"),
    [("red cup", "plate"), ("Red Cup", "PLATE"), ("the red cup", "a plate"), ("red cups", "plates")],
)
def test_of_two_that_overlap_the_name_decides_whatever_its_case_article_or_plural(cup, plate):
    known = [thing("red cup", FRONT), thing("plate", BEHIND)]
    # Each box has moved on to where the other was.
    found = [thing(cup, BEHIND), thing(plate, FRONT)]
    assert match(known, found, IMAGE_WH) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("label", ["mug", ""])
def test_another_name_at_the_same_place_is_still_the_same_thing(label):
    assert match([thing("cup", FRONT)], [thing(label, FRONT)], IMAGE_WH) == [(0, 0)]


def test_the_same_name_at_the_other_end_is_another_thing():
    assert match([thing("cup", FRONT)], [thing("cup", FAR)], IMAGE_WH) == []


def test_a_bare_point_is_matched_by_the_small_square_around_it():
    known, found = DetectedObject("cup", None, (150, 150)), DetectedObject("cup", None, (158, 150))
    assert match([known], [found], IMAGE_WH) == [(0, 0)]
