"""Which boxes and points of a reply are accepted, and why the others are not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vlm_perception.replies.candidates import Candidate
from vlm_perception.replies.coordinates import box_in_image
from vlm_perception.replies.frame_watch import FrameWatch, are_fractions
from vlm_perception.replies.places import AREA, TILTED
from vlm_perception.types import WH, XY, XYXY, DetectedObject, Reject, Remark, Span

_DECIMAL = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*|\s*[-+]?(?i:nan|inf|infinity)\s*")
_REPEAT = "exact repeat of an earlier object"
_ROUNDING_PX = 1e-6
_SAME_IOU = 0.9
_NEAR_REPEAT = f"repetition of an earlier object (same name, IoU over {_SAME_IOU})"


class _Place(NamedTuple):
    """A place in the image, pixels."""

    xyxy: XYXY | None = None
    point_xy: XY | None = None
    polygon: tuple[XY, ...] = ()


class Validator:
    """Validates the candidates of one reply, each alone but for repetitions.

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
        self._frame = FrameWatch(image_wh)
        self._boxes: dict[tuple[str, str], dict[tuple[int, int, int, int], list[XYXY]]] = {}

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What is odd about the places of all of them."""
        return self._frame.remarks()

    def reject(self, reason: str, span: Span, text: str) -> None:
        """Refuse a piece of the reply `text`."""
        self.rejects.append(Reject(reason, text[slice(*span)], span))

    def accept(self, candidate: Candidate, text: str) -> None:
        """Accept one thing of the reply `text`, or say why not."""
        scale = self._scale
        if candidate.grid:
            scale = (self._image_wh[0] / candidate.grid, self._image_wh[1] / candidate.grid)
        reason = f"{candidate.key} is one more box of the same thing" if candidate.second else ""
        place, problem = (
            (_Place(), reason) if reason else self._place(candidate.key, candidate.value, candidate.size, scale)
        )
        name = f"{candidate.label}\n{candidate.text}" if candidate.text else candidate.label
        identity = (name, place.xyxy, place.point_xy, *sorted(candidate.attributes.items()))
        if not problem and identity in self._seen:
            problem = _REPEAT
        named = name, candidate.attributes.get("time", "")
        if not problem and place.xyxy is not None and self._repeats(named, place.xyxy):
            problem = _NEAR_REPEAT
        if problem:
            self.reject(problem, candidate.span, text)
            return
        self._seen.add(identity)
        point_xy, polygon = place.point_xy, place.polygon
        if candidate.point is not None:
            key, value = candidate.point
            beside, problem = self._place(key, value, 2, scale)
            point_xy = beside.point_xy if not problem else point_xy
            self._reject_part(problem, candidate, text)
        if candidate.polygon is not None:
            key, value = candidate.polygon
            beside, problem = self._place(key, value, AREA, scale)
            polygon = beside.polygon if not problem else polygon
            self._reject_part(problem, candidate, text)
        keypoints = {}
        for name, value in candidate.keypoints.items():
            beside, problem = self._place(name, value, 2, scale)
            if beside.point_xy is not None and not problem:
                keypoints[name] = beside.point_xy
            self._reject_part(problem, candidate, text)
        self.objects.append(
            DetectedObject(
                candidate.label,
                place.xyxy,
                point_xy,
                candidate.attributes,
                candidate.span,
                evidence=candidate.evidence,
                polygon=polygon,
                keypoints=keypoints,
                text=candidate.text,
                kind=candidate.kind,
            )
        )

    def _reject_part(self, problem: str, candidate: Candidate, text: str) -> None:
        if problem:
            self.reject(problem, candidate.span, text)

    def _place(self, key: str, value: Any, size: int, scale: XY) -> tuple[_Place, str]:
        """Map what was written to image pixels, or say why not."""
        numbers, reason = _finite_numbers(key, value, size)
        if reason:
            return _Place(), reason
        if are_fractions(value, numbers) and size != TILTED:
            scale = (float(self._image_wh[0]), float(self._image_wh[1]))
            self._frame.see_fractions()
        if size == 2:
            point_xy, reason = self._point(numbers, scale)
            return _Place(None, point_xy), reason
        if size == 4:
            xyxy, reason = self._box(numbers, scale)
            return _Place(xyxy), reason
        corners = _tilted(numbers) if size == TILTED else numbers
        xs, ys = corners[::2], corners[1::2]
        xyxy, reason = self._box((min(xs), min(ys), max(xs), max(ys)), scale)
        return _Place(xyxy, None, tuple(self._clipped(x, y, scale) for x, y in zip(xs, ys, strict=True))), reason

    def _clipped(self, x: float, y: float, scale: XY) -> XY:
        width, height = self._image_wh
        return min(max(x * scale[0], 0.0), float(width)), min(max(y * scale[1], 0.0), float(height))

    def _repeats(self, named: tuple[str, str], xyxy: XYXY) -> bool:
        """Tell whether an earlier object of the same name, and time in a video, has nearly this box, and remember it.

        Boxes that overlap so much have corners and sizes that differ little, so they lie in the same or in
        neighbouring cells of a grid as fine as they are: few are compared, however many there are.
        """
        left, top, right, bottom = xyxy
        width, height = right - left, bottom - top
        boxes = self._boxes.get(named)
        if boxes is None:
            boxes = self._boxes[named] = {}
        slack = (1.0 / _SAME_IOU - 1.0) * 1.01
        for across, x in _cells(left, width, slack) if boxes else ():
            for down, y in _cells(top, height, slack):
                for other in boxes.get((across, down, x, y), ()):
                    if _iou(xyxy, other) > _SAME_IOU:
                        return True
        across, down = _size_class(width), _size_class(height)
        boxes.setdefault((across, down, _cell(left, across), _cell(top, down)), []).append(xyxy)
        return False

    def _box(self, numbers: Sequence[float], scale: XY) -> tuple[XYXY | None, str]:
        x1, y1, x2, y2 = numbers
        self._frame.see_box(numbers, scale)
        if x1 == x2 or y1 == y2:
            return None, "box has no area"
        xyxy = box_in_image((x1, y1, x2, y2), scale, self._image_wh)
        return xyxy, "box lies outside the image" if xyxy is None else ""

    def _point(self, numbers: Sequence[float], scale: XY) -> tuple[XY | None, str]:
        x, y = numbers[0] * scale[0], numbers[1] * scale[1]
        width, height = self._image_wh
        if not (0 <= x <= width + _ROUNDING_PX and 0 <= y <= height + _ROUNDING_PX):
            return None, "point lies outside the image"
        return (min(x, float(width)), min(y, float(height))), ""


def _finite_numbers(key: str, value: Any, size: int) -> tuple[tuple[float, ...], str]:
    if value is None:
        return (), f"{key} is null"
    if not isinstance(value, list):
        return (), f"{key} is not a list"
    if len(value) != size if size != AREA else len(value) < 6 or len(value) % 2:
        return (), f"{key} has {len(value)} numbers instead of {size or '6 or more, in pairs'}"
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


def _tilted(numbers: Sequence[float]) -> list[float]:
    """Turn centre, size and degrees into four corners."""
    x, y, width, height, degrees = numbers
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners: list[float] = []
    for right, down in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        along, across = right * width, down * height
        corners += (x + along * cos - across * sin, y + along * sin + across * cos)
    return corners


def _size_class(length: float) -> int:
    return math.frexp(length)[1]


def _cell(start: float, size_class: int) -> int:
    return math.floor(math.ldexp(start, 2 - size_class))


def _cells(start: float, length: float, slack: float) -> Iterator[tuple[int, int]]:
    """Size classes and cells in which something nearly as long may begin nearly there."""
    for size_class in {_size_class(length * _SAME_IOU), _size_class(length / _SAME_IOU)}:
        reach = slack * length
        for cell in range(_cell(start - reach, size_class), _cell(start + reach, size_class) + 1):
            yield size_class, cell


def _iou(one: XYXY, other: XYXY) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (one, other)]
    return width * height / (sum(areas) - width * height)
