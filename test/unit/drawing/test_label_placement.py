"""Labels stay inside the image, never cover one another, and stand by their objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlm_perception.drawing.label_placement import Place, place_labels

AREA_WH = (640, 460)


def rects_of(places: list[Place | None], label_wh: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    return [
        (place.left, place.top, place.left + int(width), place.top + int(height))
        for place, (width, height) in zip(places, label_wh, strict=True)
        if place is not None
    ]


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def placed(
    boxes: list[tuple[float, float, float, float]], size: tuple[int, int] = (85, 16), area_wh: tuple[int, int] = AREA_WH
) -> list[Place | None]:
    return place_labels(np.array(boxes, dtype=np.float64), np.array([size] * len(boxes)), area_wh)


@given(
    fractions=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=40),
    width=st.integers(4, 120),
    height=st.integers(4, 20),
)
@settings(max_examples=80)
def test_labels_are_inside_and_apart_and_all_there_when_there_is_room(
    fractions: list[tuple[float, float, float, float]], width: int, height: int
) -> None:
    boxes = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in fractions]).reshape(-1, 4)
    sizes = np.array([(width, height)] * len(boxes)).reshape(-1, 2)
    places = place_labels(boxes * np.tile(AREA_WH, 2), sizes, AREA_WH)
    rects = rects_of(places, sizes)
    for left, top, right, bottom in rects:
        assert 0 <= left <= right <= AREA_WH[0]
        assert 0 <= top <= bottom <= AREA_WH[1]
    assert not any(overlap(a, b) for i, a in enumerate(rects) for b in rects[:i])
    if len(boxes) * width * height < 0.1 * AREA_WH[0] * AREA_WH[1]:
        assert None not in places


def test_a_lone_box_carries_its_label_on_its_upper_left_corner() -> None:
    assert placed([(200, 150, 400, 300)]) == [Place(200, 134, False)]


@pytest.mark.parametrize(
    "box",
    [(0, 0, 640, 460), (0, 0, 60, 60), (580, 0, 640, 60), (0, 400, 60, 460), (580, 400, 640, 460), (0, 0, 640, 10)],
)
def test_a_box_at_the_border_keeps_its_label_beside_or_in_it(box: tuple[float, float, float, float]) -> None:
    place = placed([box])[0]
    assert place is not None
    assert not place.moved


def test_twelve_in_a_row_all_get_a_label() -> None:
    # Each box is 26 wide, each label 85, on a picture of 320 x 224: no room for a row of them.
    boxes = [(4.0 + 26 * i, 100.0, 26.0 + 26 * i, 140.0) for i in range(12)]
    places = placed(boxes, area_wh=(320, 224))
    assert None not in places
    for (left, top, right, bottom), box in zip(rects_of(places, np.array([(85, 16)] * 12)), boxes, strict=True):
        assert not any(overlap((left, top, right, bottom), tuple(map(int, other))) for other in boxes)  # type: ignore[arg-type]
        assert abs((top + bottom) / 2 - 120) < 100, "far from its row"
        assert left - 90 < box[2]
        assert right + 90 > box[0]


@pytest.mark.parametrize(
    ("boxes", "count", "within"),
    [
        ([(300.0 + 14 * i, 200.0, 310.0 + 14 * i, 210.0) for i in range(4)], 4, (640, 460)),
        ([(300.0, 200.0, 340.0, 230.0)] * 40, 40, (260, 190)),
    ],
    ids=["points close together", "forty objects on one spot"],
)
def test_a_crowd_gets_its_labels_around_it(
    boxes: list[tuple[float, float, float, float]], count: int, within: tuple[int, int]
) -> None:
    rects = rects_of(placed(boxes), np.array([(85, 16)] * count))
    assert len(rects) == count
    assert all(
        abs((x0 + x1) / 2 - 320) < within[0] and abs((y0 + y1) / 2 - 215) < within[1] for x0, y0, x1, y1 in rects
    )
    if count == 4:
        assert not any(overlap(rect, tuple(map(int, dot))) for rect in rects for dot in boxes)  # type: ignore[arg-type]


def test_a_small_box_in_a_large_one_keeps_its_label_near_and_uncovered() -> None:
    outer, inner = (100.0, 100.0, 500.0, 400.0), (250.0, 220.0, 290.0, 250.0)
    places = placed([outer, inner])
    assert [place is not None and not place.moved for place in places] == [True, True]
    for rect in rects_of(places, np.array([(85, 16)] * 2)):
        assert not overlap(rect, (250, 220, 290, 250))


def test_a_label_keeps_off_a_large_neighbour() -> None:
    above, own = (100.0, 20.0, 500.0, 300.0), (250.0, 305.0, 350.0, 360.0)
    assert placed([above, own])[1] == Place(250, 360, False)


def test_a_label_larger_than_the_image_is_left_out() -> None:
    assert placed([(1, 1, 5, 5)], size=(85, 16), area_wh=(40, 40)) == [None]
    assert placed([(1, 1, 5, 5)], size=(30, 16), area_wh=(40, 0)) == [None]


def test_places_do_not_depend_on_where_far_away_objects_are() -> None:
    # Labels that jump from frame to frame cannot be read.
    box = (200.0, 150.0, 300.0, 250.0)
    assert placed([box, (500.0, 300.0, 520.0, 320.0)])[0] == placed([box, (480.0, 350.0, 520.0, 390.0)])[0]
