"""In which frame the boxes of a card lie."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scripted_server import boxes_text

from vlm_perception.engines.probe_card import draw_card, judge_card

CARD = draw_card()
TRUTHS = np.array([truth.xyxy for truth in CARD.truths])
IMAGE_WH = CARD.frame.image_wh
MODEL_WH = (252, 196)


def shares(scale_x: float, scale_y: float) -> NDArray[np.float64]:
    return TRUTHS / np.tile(IMAGE_WH, 2) * np.tile([scale_x, scale_y], 2)


PIXELS, RELATIVE = shares(*MODEL_WH), shares(1000, 1000)


@pytest.mark.parametrize(
    ("boxes", "coordinates", "found"),
    [(PIXELS, "absolute", 3), (RELATIVE, "relative_1000", 3), (RELATIVE[:2], "relative_1000", 2)],
)
def test_boxes_of_families_are_found_in_their_frames(boxes: NDArray[np.float64], coordinates: str, found: int) -> None:
    verdict = judge_card(boxes_text(boxes.round()), CARD, MODEL_WH)
    assert (verdict.coordinates, verdict.found, verdict.things, verdict.otherwise) == (coordinates, found, 3, "")
    assert verdict.mean_iou > 0.9


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (PIXELS[:, [1, 0, 3, 2]], ["y before x", "x times 2.54"]),
        (RELATIVE[:, [1, 0, 3, 2]], ["y before x", "x times 0.64", "y times 0.48"]),
        (np.hstack([PIXELS[:, :2], PIXELS[:, 2:] - PIXELS[:, :2]]), ["corner and size"]),
        (np.hstack([(PIXELS[:, :2] + PIXELS[:, 2:]) / 2, PIXELS[:, 2:] - PIXELS[:, :2]]), ["centre and size"]),
        (PIXELS + 30, ["x times 2.54 and -76 px"]),
        (shares(1, 1), ["x times 640"]),
        (shares(1280, 960), ["x times 0.5 and +0 px", "y times 0.5 and +0 px"]),
    ],
)
def test_boxes_of_another_frame_are_told_by_what_would_mend_them(boxes: NDArray[np.float64], words: list[str]) -> None:
    exact = boxes if boxes.max() < 2 else boxes.round()
    verdict = judge_card(boxes_text(exact.round(4)), CARD, MODEL_WH)
    assert verdict.coordinates is None
    assert all(word in verdict.otherwise for word in words), verdict


@pytest.mark.parametrize(
    ("reply", "boxes"),
    [
        ("", 0),
        ("I see a circle.", 0),
        ("[1, 2, 3]", 0),
        (boxes_text([[5, 5, 9, 9]] * 3), 3),
        (boxes_text([[0, 0, 0, 0]]), 1),
    ],
)
def test_what_tells_nothing_is_judged_as_nothing(reply: str, boxes: int) -> None:
    verdict = judge_card(reply, CARD, MODEL_WH)
    assert (verdict.boxes, verdict.found, verdict.coordinates, verdict.otherwise) == (boxes, 0, None, "")
