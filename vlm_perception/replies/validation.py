"""Which boxes and points of a reply are accepted, and why the others are not."""

from __future__ import annotations

import math
import re
from typing import Any

from vlm_perception.replies.candidates import Candidate
from vlm_perception.replies.coordinates import box_in_image
from vlm_perception.types import WH, XY, XYXY, DetectedObject, Reject, Span

_DECIMAL = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*|\s*[-+]?(?i:nan|inf|infinity)\s*")
_REPEAT = "exact repeat of an earlier object"


class Validator:
    """Validates the candidates of one reply, each alone but for exact repeats.

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

    def reject(self, reason: str, span: Span, text: str) -> None:
        """Refuse a piece of the reply `text`."""
        self.rejects.append(Reject(reason, text[slice(*span)], span))

    def accept(self, candidate: Candidate, text: str) -> None:
        """Accept one box or point of the reply `text`, or say why not."""
        numbers, reason = _finite_numbers(candidate)
        xyxy, point_xy = None, None
        if not reason and candidate.size == 4:
            xyxy, reason = self._box(numbers)
        elif not reason:
            point_xy, reason = self._point(numbers)
        identity = (candidate.label, xyxy, point_xy, *sorted(candidate.attributes.items()))
        if not reason and identity in self._seen:
            reason = _REPEAT
        if reason:
            self.reject(reason, candidate.span, text)
            return
        self._seen.add(identity)
        label, span, evidence = candidate.label, candidate.span, candidate.evidence
        self.objects.append(DetectedObject(label, xyxy, point_xy, candidate.attributes, span, evidence=evidence))

    def _box(self, numbers: tuple[float, ...]) -> tuple[XYXY | None, str]:
        x1, y1, x2, y2 = numbers
        if x1 == x2 or y1 == y2:
            return None, "box has no area"
        xyxy = box_in_image((x1, y1, x2, y2), self._scale, self._image_wh)
        return xyxy, "box lies outside the image" if xyxy is None else ""

    def _point(self, numbers: tuple[float, ...]) -> tuple[XY | None, str]:
        x, y = numbers[0] * self._scale[0], numbers[1] * self._scale[1]
        inside = 0 <= x <= self._image_wh[0] and 0 <= y <= self._image_wh[1]
        return (x, y), "" if inside else "point lies outside the image"


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
