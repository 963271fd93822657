"""Coordinates that are in another frame than they should be are read as what they are, or told."""

from __future__ import annotations

import pytest

from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import ParsedAnswer

WH = (1000, 500)


def parse(text: str) -> ParsedAnswer:
    return parse_answer(text, model_wh=WH, image_wh=WH)


def boxes(*corners: list[float]) -> str:
    items = [f'{{"bbox_2d": {box}, "label": "thing {chr(97 + place)}"}}' for place, box in enumerate(corners)]
    return "[" + ", ".join(items) + "]"


# reply, place of the first object, whether it was written in fractions
FRACTIONS = [
    (boxes([0.1, 0.2, 0.5, 0.6]), (100, 100, 500, 300), True),
    (boxes([0.0, 0.0, 1.0, 1.0]), (0, 0, 1000, 500), True),
    ('{"bbox": ["0.1", "0.2", "0.5", "0.6"], "label": "cup"}', (100, 100, 500, 300), True),
    ('{"bbox": {"x1": 0.1, "y1": 0.2, "x2": 0.5, "y2": 0.6}, "label": "cup"}', (100, 100, 500, 300), True),
    ('{"x": 0.1, "y": 0.2, "width": 0.4, "height": 0.4, "label": "cup"}', (100, 100, 500, 300), True),
    ("0.1,0.2,0.5,0.6 cup", (100, 100, 500, 300), True),
    ("cup: [0.1, 0.2, 0.5, 0.6]", (100, 100, 500, 300), True),
    ("<box>(0.1,0.2),(0.5,0.6)</box>", (100, 100, 500, 300), True),
    ('{"point_2d": [0.5, 0.5], "label": "tip"}', (500, 250), True),
    ('{"polygon": [[0.1, 0.2], [0.5, 0.2], [0.5, 0.6]], "label": "cup"}', (100, 100, 500, 300), True),
    (boxes([0, 0, 1, 1]), (0, 0, 1, 1), False),  # the corner pixel
    (boxes([0.5, 0.5, 1.5, 1]), (0.5, 0.5, 1.5, 1), False),
    (boxes([0.5, 0.5, 30, 40]), (0.5, 0.5, 30, 40), False),
    ('{"x": 0, "y": 0, "width": 1, "height": 1, "label": "dot"}', (0, 0, 1, 1), False),
    ('{"point_2d": [1, 1], "label": "tip"}', (1, 1), False),
]


@pytest.mark.parametrize(("text", "place", "is_fraction"), FRACTIONS)
@pytest.mark.parametrize("coordinates", ["absolute", "relative_1000"])
def test_fractions_are_read_as_such_and_told(
    text: str, place: tuple[float, ...], is_fraction: bool, coordinates: str
) -> None:
    parsed = parse_answer(text, model_wh=(1000, 500), image_wh=WH, coordinates=coordinates)  # type: ignore[arg-type]
    (found,) = parsed.objects
    if is_fraction or coordinates == "absolute":
        assert (found.xyxy or found.point_xy) == pytest.approx(place)
    assert [remark.kind for remark in parsed.remarks] == ["fractions"] * is_fraction


# boxes, kinds of what is remarked
FRAMES: list[tuple[list[list[float]], list[str]]] = [
    ([[400, 300, 50, 60], [500, 200, 70, 80]], ["width_height"]),
    ([[400, 300, 50, 60], [500, 200, 70, 80], [10, 20, 70, 80]], ["width_height"]),  # most of them
    ([[400, 300, 50, 60], [10, 20, 70, 80]], []),  # half of them
    ([[10, 20, 70, 80], [500, 200, 570, 280]], []),
    ([[1400, 300, 1500, 400], [1500, 100, 1700, 200], [10, 20, 70, 80]], ["other_frame"]),
    ([[10, 600, 30, 800], [10, 700, 30, 900]], ["other_frame"]),
    ([[-300, 10, -100, 60]], ["other_frame"]),
    ([[900, 300, 1300, 400], [800, 100, 1700, 200], [10, 20, 70, 80]], ["other_frame"]),  # partly, but most of it
    ([[900, 300, 1050, 400], [800, 100, 1150, 200]], []),  # over the edge
    ([[-300, 10, -100, 60], [1400, 10, 1500, 60], [10, 20, 70, 80]], []),  # on both sides
    ([[1400, 300, 1500, 400], [10, 20, 70, 80]], []),  # half of them
]


@pytest.mark.parametrize(("corners", "kinds"), FRAMES)
def test_boxes_of_another_frame_are_told(corners: list[list[float]], kinds: list[str]) -> None:
    remarks = parse(boxes(*corners)).remarks
    assert [remark.kind for remark in remarks] == kinds
    assert all(f"of {len(corners)} boxes" in remark.text for remark in remarks)


def test_a_thinking_that_never_ended_is_told() -> None:
    assert [remark.kind for remark in parse("<think>Let me see").remarks] == ["thinking"]
    assert parse("<think>Let me see</think>There is a cup.").remarks == ()
    assert parse("<answer>There is a cup.</answer>").remarks == ()
