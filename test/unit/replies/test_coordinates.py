"""From the model's coordinates to pixels of the camera image."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vlm_perception.engines.families import plan_resize
from vlm_perception.errors import GeometryError
from vlm_perception.replies.coordinates import clip_xyxy, image_scale, order_corners, scale_xyxy
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import XYXY, CoordinateFrame, PixelBudget

BUDGET = PixelBudget(224 * 224, 1024 * 1024)


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
