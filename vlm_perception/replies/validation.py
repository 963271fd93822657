"""Which boxes and points of a reply are accepted, and why the others are not."""

from __future__ import annotations

import math
import re
from typing import Any

from vlm_perception.replies.candidates import Candidate
from vlm_perception.replies.coordinates import clip_xyxy, order_corners, scale_xyxy
from vlm_perception.types import WH, XY, DetectedObject, Reject

_REPEAT = "exact repeat of an earlier object"


class Judge:
    """Judges the candidates of one reply, each alone but for exact repeats.

    Args:
        image_wh: Size of the camera image, pixels.
        scale: Image pixels per unit of the model's coordinates, for x and y.
    """

    def __init__(self, image_wh: WH, scale: XY) -> None:
        self.objects: list[DetectedObject] = []
        self.rejects: list[Reject] = []
        self._image_wh = image_wh
        self._scale = scale
        self._seen: set[tuple[object, ...]] = set()

    def reject(self, reason: str, span: tuple[int, int], text: str) -> None:
        """Refuse a piece of the reply `text`."""
        self.rejects.append(Reject(reason, text[slice(*span)], span))

    def accept(self, candidate: Candidate, part: int, text: str) -> None:
        """Accept one box or point of the reply `text`, or say why not; `part` counts those of its item."""
        numbers, reason = _finite_numbers(candidate)
        if reason:
            self.reject(reason, candidate.span, text)
        elif candidate.size == 4:
            self._accept_box(candidate, numbers, part, text)
        else:
            self._accept_point(candidate, numbers, part, text)

    def _accept_box(self, candidate: Candidate, numbers: tuple[float, ...], part: int, text: str) -> None:
        x1, y1, x2, y2 = numbers
        if x1 == x2 or y1 == y2:
            self.reject("box has no area", candidate.span, text)
            return
        xyxy = clip_xyxy(scale_xyxy(order_corners((x1, y1, x2, y2)), self._scale), self._image_wh)
        if xyxy is None:
            self.reject("box lies outside the image", candidate.span, text)
        elif self._is_new(candidate, xyxy, text):
            found = DetectedObject(candidate.label, xyxy, None, candidate.attributes, candidate.span, None, part)
            self.objects.append(found)

    def _accept_point(self, candidate: Candidate, numbers: tuple[float, ...], part: int, text: str) -> None:
        x, y = numbers[0] * self._scale[0], numbers[1] * self._scale[1]
        if not (0 <= x <= self._image_wh[0] and 0 <= y <= self._image_wh[1]):
            self.reject("point lies outside the image", candidate.span, text)
        elif self._is_new(candidate, (x, y), text):
            found = DetectedObject(candidate.label, None, (x, y), candidate.attributes, candidate.span, None, part)
            self.objects.append(found)

    def _is_new(self, candidate: Candidate, place: tuple[float, ...], text: str) -> bool:
        identity = (candidate.label, place, *sorted(candidate.attributes.items()))
        if identity in self._seen:
            self.reject(_REPEAT, candidate.span, text)
            return False
        self._seen.add(identity)
        return True


_DECIMAL = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*|\s*[-+]?(?i:nan|inf|infinity)\s*")


def _finite_numbers(candidate: Candidate) -> tuple[tuple[float, ...], str]:
    key, value = candidate.key, candidate.value
    if value is None:
        return (), f"{key} is null"
    if not isinstance(value, list):
        return (), f"{key} is not a list"
    if len(value) != candidate.size:
        return (), f"{key} has {len(value)} numbers instead of {candidate.size}"
    if set(map(type, value)) == {int}:
        return tuple(value), ""
    if not all(map(_is_number, value)):
        return (), f"{key} holds something that is not a number"
    numbers = tuple(map(float, value))
    if not all(map(math.isfinite, numbers)):
        return (), f"{key} is not finite"
    return numbers, ""


def _is_number(part: Any) -> bool:
    kind = type(part)
    return kind is int or kind is float or (kind is str and _DECIMAL.fullmatch(part) is not None)
