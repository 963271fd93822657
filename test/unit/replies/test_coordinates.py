"""From the model's coordinates to pixels of the camera image."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vlm_perception.engines.families import plan_resize
from vlm_perception.errors import GeometryError
from vlm_perception.replies.coordinates import box_in_image, image_scale
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import WH, XYXY, CoordinateFrame, PixelBudget

# model (width, height), image (width, height), frame, scale
SCALES: list[tuple[WH, WH, CoordinateFrame, tuple[float, float]]] = [
    ((644, 476), (1288, 119), "absolute", (2.0, 0.25)),  # per axis
    # Guessing "all values below 1000 are normalised" is a known bug of peers.
    ((644, 476), (644, 476), "absolute", (1.0, 1.0)),
    ((644, 476), (500, 2000), "relative_1000", (0.5, 2.0)),  # the model's size plays no part
]


@pytest.mark.parametrize(("model_wh", "image_wh", "frame", "scale"), SCALES)
def test_scale(model_wh: WH, image_wh: WH, frame: CoordinateFrame, scale: tuple[float, float]) -> None:
    assert image_scale(model_wh, image_wh, frame) == scale
    text = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
    (read,) = parse_answer(text, model_wh=model_wh, image_wh=image_wh, coordinates=frame).objects
    assert read.xyxy == (scale[0], 2 * scale[1], 30 * scale[0], 40 * scale[1])


REFUSED: list[tuple[WH, WH, Any, str]] = [
    ((644, 476), (0, 480), "absolute", "at least 1"),
    ((0, 476), (644, 480), "absolute", "at least 1"),
    ((644, 476), (644, 480), "relative_999", "relative_999"),
]


@pytest.mark.parametrize(("model_wh", "image_wh", "frame", "named"), REFUSED)
def test_empty_sizes_and_unknown_frames_are_refused(model_wh: WH, image_wh: WH, frame: Any, named: str) -> None:
    with pytest.raises(GeometryError, match=named):
        parse_answer("", model_wh=model_wh, image_wh=image_wh, coordinates=frame)


# box, the part of it in a 100 x 50 image
CLIPS: list[tuple[XYXY, XYXY | None]] = [
    ((10, 10, 20, 20), (10, 10, 20, 20)),  # inside: unchanged
    ((20, 10, 10, 20), (10, 10, 20, 20)),  # the other diagonal
    ((-5, -5, 20, 20), (0, 0, 20, 20)),  # over the left and top edge
    ((90, 40, 120, 60), (90, 40, 100, 50)),  # over the right and bottom edge
    ((-10, -10, 200, 200), (0, 0, 100, 50)),  # larger than the image
    ((100, 10, 120, 20), None),  # touches the edge from outside: no area
    ((-20, 10, 0, 20), None),
    ((10, 60, 20, 70), None),  # wholly below
]


@pytest.mark.parametrize(("box", "clipped"), CLIPS)
def test_clip(box: XYXY, clipped: XYXY | None) -> None:
    assert box_in_image(box, (1.0, 1.0), (100, 50)) == clipped


sides = st.integers(1, 8000)
budgets = st.tuples(st.integers(784, 10**6), st.integers(0, 10**7)).map(lambda b: PixelBudget(b[0], b[0] + b[1]))


@given(sides, sides, budgets, st.sampled_from(["absolute", "relative_1000"]), st.data())
@settings(max_examples=300)
def test_a_box_survives_the_round_trip_within_one_model_pixel(
    width: int, height: int, budget: PixelBudget, frame: CoordinateFrame, data: st.DataObject
) -> None:
    """Drawn at known image pixels, written by the model in whole units of its own, and read again."""
    assume(max(width, height) <= 200 * min(width, height))
    model_wh = plan_resize((width, height), budget, cell_px=28)
    units = model_wh if frame == "absolute" else (1000, 1000)
    corners = [sorted(data.draw(st.tuples(st.floats(0, side), st.floats(0, side)))) for side in (width, height)]
    drawn = [corners[0][0], corners[1][0], corners[0][1], corners[1][1]]
    written = [round(at * units[axis % 2] / (width, height)[axis % 2]) for axis, at in enumerate(drawn)]
    assume(written[0] < written[2] and written[1] < written[3])
    (read,) = parse_answer(
        f'{{"bbox_2d": {written}, "label": "box"}}', model_wh=model_wh, image_wh=(width, height), coordinates=frame
    ).objects
    assert read.xyxy is not None
    for axis, (was, now) in enumerate(zip(drawn, read.xyxy, strict=True)):
        unit_px = (width, height)[axis % 2] / units[axis % 2]
        assert abs(was - now) <= unit_px * (0.5 + 1e-9)
