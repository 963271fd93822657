"""A drawn card with known boxes, to find out in which frame a model writes its coordinates."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from vlm_perception.prompts.builder import load_prompts
from vlm_perception.replies.coordinates import image_scale
from vlm_perception.scenes import Background, Light, ObjectSpec, SceneSpec, Truth, render
from vlm_perception.types import WH, XYXY, CoordinateFrame, Frame, Prompt
from vlm_perception.world.boxes import iou, match_boxes

# A box is found when it is this near to the true one.
_FOUND_IOU = 0.5
# A reading that has been fitted to the card has to fit it well before it is believed.
_FITTED_IOU = 0.7
_CARD_WH = (640, 480)
_MOST_BOXES = 6
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_FOUR_NUMBERS = re.compile(rf"[\[(]{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])]")
_Boxes = NDArray[np.float64]
# Far from the diagonal and of unlike sizes, so that no reading in a wrong frame fits by chance.
_THINGS = (
    ObjectSpec("circle", "red", (217, 33, 40), "plain", 0.20, 0.68, 0.30, 1.0, 0.0, 0),
    ObjectSpec("square", "blue", (48, 99, 217), "plain", 0.76, 0.22, 0.24, 1.0, 0.0, 0),
    ObjectSpec("triangle", "green", (40, 158, 60), "plain", 0.64, 0.74, 0.27, 1.0, 0.0, 0),
)
_LIGHT = Light(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
_PAPER = Background("plain", (236, 236, 230), (236, 236, 230), 0)


@dataclass(frozen=True, slots=True)
class Card:
    """The card.

    Attributes:
        frame: Its picture.
        prompt: What is asked about it.
        truths: What is on it.
    """

    frame: Frame
    prompt: Prompt
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply about the card tells.

    Attributes:
        boxes: How many boxes it holds.
        things: How many things are on the card.
        found: How many of them have a box of `_FOUND_IOU` or more, read in `coordinates`.
        mean_iou: Of those; 0 for none.
        coordinates: The frame of a known family in which most things are found; None where it is in none.
        otherwise: How the boxes would have to be read to fit the card, where another way than that of any family is
            found; else empty.
    """

    boxes: int
    things: int
    found: int = 0
    mean_iou: float = 0.0
    coordinates: CoordinateFrame | None = None
    otherwise: str = ""


def draw_card(image_wh: WH = _CARD_WH) -> Card:
    """Draw the card at a camera's size."""
    scene = render(SceneSpec(_THINGS, _PAPER, _LIGHT), image_wh)
    # Three names would be more to the point; "all" is what the shipped checkpoint knows best, and any other, too.
    return Card(Frame(scene.rgb), load_prompts("").build("all objects"), scene.truths)


def judge_card(reply: str, card: Card, model_wh: WH) -> Verdict:
    """Read the boxes of a reply in the frames of all families, and find out how else they would fit.

    Args:
        reply: Its text.
        card: What was asked about.
        model_wh: Size of the image as the model saw it, pixels.
    """
    raw = np.array([[float(number) for number in numbers] for numbers in _FOUR_NUMBERS.findall(reply)], np.float64)
    truths = np.array([truth.xyxy for truth in card.truths])
    if not len(raw):
        return Verdict(0, len(truths))
    verdicts = [_read(raw, truths, card.frame.image_wh, model_wh, frame) for frame in _FRAMES]
    best = max(verdicts, key=lambda verdict: (verdict.found, verdict.mean_iou))
    if 2 * best.found > len(truths):
        return best
    return Verdict(len(raw), len(truths), best.found, best.mean_iou, otherwise=_other_reading(raw, truths))


_FRAMES: tuple[CoordinateFrame, ...] = ("absolute", "relative_1000")


def _read(raw: _Boxes, truths: _Boxes, image_wh: WH, model_wh: WH, frame: CoordinateFrame) -> Verdict:
    boxes = raw * np.tile(image_scale(model_wh, image_wh, frame), 2)
    matches = match_boxes([_xyxy(box) for box in boxes], [_xyxy(box) for box in truths])
    found = [overlap for _, _, overlap in matches if overlap >= _FOUND_IOU]
    return Verdict(len(raw), len(truths), len(found), float(np.mean(found)) if found else 0.0, frame)


_Form = Callable[[_Boxes], _Boxes]
_FORMS: tuple[tuple[str, _Form], ...] = (
    ("", lambda raw: raw),
    ("y before x", lambda raw: raw[:, [1, 0, 3, 2]]),
    ("corner and size", lambda raw: np.hstack([raw[:, :2], raw[:, :2] + raw[:, 2:]])),
    ("centre and size", lambda raw: np.hstack([raw[:, :2] - raw[:, 2:] / 2, raw[:, :2] + raw[:, 2:] / 2])),
)


def _other_reading(raw: _Boxes, truths: _Boxes) -> str:
    """Tell which form, scale and shift bring the boxes onto the things; empty where none does."""
    if not len(truths) <= len(raw) <= _MOST_BOXES:
        return ""
    fits = [
        (*_fitted(form(raw)[list(order)], truths), name)
        for name, form in _FORMS
        for order in permutations(range(len(raw)), len(truths))
    ]
    overlap, scale, shift, name = max(fits, key=lambda fit: fit[0])
    if overlap < _FITTED_IOU:
        return ""
    axes = [f"{axis} times {scale[i]:.3g} and {round(shift[i]):+d} px" for i, axis in enumerate("xy")]
    return f"{name + ', ' if name else ''}{', '.join(axes)} of the card"


def _fitted(boxes: _Boxes, truths: _Boxes) -> tuple[float, list[float], list[float]]:
    """Fit scale and shift of both axes by least squares; returns the mean IoU then, and both for x and y."""
    fitted, scale, shift = boxes.copy(), [1.0, 1.0], [0.0, 0.0]
    for axis in (0, 1):
        places = boxes[:, axis::2].ravel()
        if np.ptp(places) == 0:
            return 0.0, scale, shift
        scale[axis], shift[axis] = np.polyfit(places, truths[:, axis::2].ravel(), 1)
        fitted[:, axis::2] = boxes[:, axis::2] * scale[axis] + shift[axis]
    overlaps = [iou(_xyxy(box), _xyxy(truth)) for box, truth in zip(fitted, truths, strict=True)]
    return float(np.mean(overlaps)), scale, shift


def _xyxy(box: _Boxes) -> XYXY:
    left, top, right, bottom = map(float, box)
    return left, top, right, bottom
