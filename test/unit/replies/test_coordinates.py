"""Sizes and coordinates."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vlm_perception.errors import GeometryError
from vlm_perception.replies.coordinates import (
    clip_xyxy,
    image_scale,
    intersect_budgets,
    order_corners,
    plan_resize,
    scale_xyxy,
)
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import XYXY, CoordinateFrame, PixelBudget

BUDGET = PixelBudget(224 * 224, 1024 * 1024)

# image (width, height), budget, processed (width, height)
PLANS = [
    ((640, 480), BUDGET, (644, 476)),  # nearest multiples of 28, no bound met
    ((1920, 1080), BUDGET, (1344, 756)),  # over the maximum: rounded down
    ((100, 50), BUDGET, (336, 168)),  # under the minimum: rounded up
    ((42, 70), PixelBudget(784, 10**6), (56, 56)),  # half cells go to even, as Python rounds
    ((5, 5), PixelBudget(784, 10**6), (28, 28)),  # rounds to no cell at all, then up
    ((2000, 10), PixelBudget(3136, 50176), (812, 28)),  # thin: one side rounds to nothing, then both up
    ((20000, 100), PixelBudget(3136, 50176), (3164, 28)),  # thin and large: a side never shrinks to nothing
]


@pytest.mark.parametrize(("image_wh", "budget", "planned_wh"), PLANS)
def test_plan_follows_the_family_rule(
    image_wh: tuple[int, int], budget: PixelBudget, planned_wh: tuple[int, int]
) -> None:
    assert plan_resize(image_wh, budget) == planned_wh


@pytest.mark.parametrize(
    ("image_wh", "budget", "named"),
    [
        ((0, 480), BUDGET, "0x480"),  # empty image
        ((640, -1), BUDGET, "640x-1"),
        ((4020, 20), BUDGET, "201.0"),  # just over the limit of 200
        ((640, 480), PixelBudget(10, 5), "max_pixels 5"),  # contradicting bounds
    ],
)
def test_impossible_sizes_name_value_and_limit(image_wh: tuple[int, int], budget: PixelBudget, named: str) -> None:
    with pytest.raises(GeometryError, match=named):
        plan_resize(image_wh, budget)


def test_aspect_ratio_of_exactly_200_is_accepted() -> None:
    assert plan_resize((4000, 20), BUDGET)


def test_budgets_intersect_and_the_checkpoint_wins_where_they_do_not_meet() -> None:
    own = PixelBudget(30_000, 40_000)
    assert intersect_budgets(PixelBudget(35_000, 10**6), own) == PixelBudget(35_000, 40_000)
    assert intersect_budgets(PixelBudget(50_000, 10**6), own) == own
    assert intersect_budgets(PixelBudget(3_136, 10_000), own) == own


def test_scale_is_per_axis() -> None:
    scale = image_scale((644, 476), (1288, 119), "absolute")
    assert scale == (2.0, 0.25)
    assert scale_xyxy((10, 20, 30, 40), scale) == (20, 5, 60, 10)


def test_relative_coordinates_ignore_the_model_size() -> None:
    assert image_scale((644, 476), (500, 2000), "relative_1000") == (0.5, 2.0)


def test_scale_refuses_empty_sizes() -> None:
    with pytest.raises(GeometryError, match="at least 1"):
        image_scale((644, 476), (0, 480), "absolute")


# box, clipped to a 100 x 50 image
CLIPS: list[tuple[XYXY, XYXY | None]] = [
    ((10, 10, 20, 20), (10, 10, 20, 20)),  # inside: unchanged
    ((-5, -5, 20, 20), (0, 0, 20, 20)),  # over the left and top edge
    ((90, 40, 120, 60), (90, 40, 100, 50)),  # over the right and bottom edge
    ((-10, -10, 200, 200), (0, 0, 100, 50)),  # larger than the image
    ((100, 10, 120, 20), None),  # touches the edge from outside: no area
    ((-20, 10, 0, 20), None),
    ((10, 60, 20, 70), None),  # wholly below
]


@pytest.mark.parametrize(("box", "clipped"), CLIPS)
def test_clip(box: XYXY, clipped: XYXY | None) -> None:
    assert clip_xyxy(box, (100, 50)) == clipped


@given(st.tuples(*[st.floats(-1e4, 1e4)] * 4), st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
def test_clipped_boxes_lie_inside_and_have_area(box: XYXY, image_wh: tuple[int, int]) -> None:
    clipped = clip_xyxy(order_corners(box), image_wh)
    if clipped is not None:
        left, top, right, bottom = clipped
        assert 0 <= left < right <= image_wh[0]
        assert 0 <= top < bottom <= image_wh[1]


# image (width, height), budget, what makes it worth a row
EXTREMES = [
    ((28, 28), BUDGET),  # one cell
    ((1, 1), BUDGET),  # the smallest image there is
    ((27, 29), PixelBudget(784, 10**6)),  # odd sides about a cell
    ((641, 479), BUDGET),  # odd sides
    ((7680, 4320), BUDGET),  # 8K, cap in force
    ((7680, 4320), PixelBudget(784, 10**9)),  # 8K without a cap
    ((4000, 20), BUDGET),  # aspect ratio 200, lying
    ((20, 4000), PixelBudget(3136, 50176)),  # and standing, capped
]


@pytest.mark.parametrize("frame", ["absolute", "relative_1000"])
@pytest.mark.parametrize(("image_wh", "budget"), EXTREMES)
def test_the_whole_image_is_the_whole_image(
    image_wh: tuple[int, int], budget: PixelBudget, frame: CoordinateFrame
) -> None:
    model_wh = plan_resize(image_wh, budget)
    scale = image_scale(model_wh, image_wh, frame)
    far = model_wh if frame == "absolute" else (1000, 1000)
    assert clip_xyxy(scale_xyxy((0, 0, *far), scale), image_wh) == pytest.approx((0, 0, *image_wh), rel=1e-12)


sides = st.integers(1, 8000)
budgets = st.tuples(st.integers(784, 10**6), st.integers(0, 10**7)).map(lambda b: PixelBudget(b[0], b[0] + b[1]))


@given(sides, sides, budgets, st.sampled_from(["absolute", "relative_1000"]), st.data())
@settings(max_examples=300)
def test_a_box_survives_the_round_trip_within_one_model_pixel(
    width: int, height: int, budget: PixelBudget, frame: CoordinateFrame, data: st.DataObject
) -> None:
    """Drawn at known image pixels, written by the model in whole units of its own, and read again."""
    assume(max(width, height) <= 200 * min(width, height))
    model_wh = plan_resize((width, height), budget)
    units = model_wh if frame == "absolute" else (1000, 1000)
    drawn = [data.draw(st.floats(0, side)) for side in (width, height, width, height)]
    drawn = list(order_corners((drawn[0], drawn[1], drawn[2], drawn[3])))
    written = [round(at * units[axis % 2] / (width, height)[axis % 2]) for axis, at in enumerate(drawn)]
    assume(written[0] < written[2] and written[1] < written[3])
    (read,) = parse_answer(
        f'{{"bbox_2d": {written}, "label": "box"}}', model_wh=model_wh, image_wh=(width, height), coordinates=frame
    ).objects
    assert read.xyxy is not None
    for axis, (was, now) in enumerate(zip(drawn, read.xyxy, strict=True)):
        unit_px = (width, height)[axis % 2] / units[axis % 2]
        assert abs(was - now) <= unit_px * (0.5 + 1e-9)


@given(sides, sides, budgets)
def test_planned_sides_are_whole_cells_within_the_budget(width: int, height: int, budget: PixelBudget) -> None:
    assume(max(width, height) <= 200 * min(width, height))
    assume(budget.max_pixels >= 4 * budget.min_pixels)  # nearer bounds may have no whole cells between them
    planned = plan_resize((width, height), budget)
    assert all(side >= 28 and side % 28 == 0 for side in planned)
    # A side is never less than one cell, which a thin image pays for with more area.
    assert planned[0] * planned[1] <= budget.max_pixels or min(planned) == 28
