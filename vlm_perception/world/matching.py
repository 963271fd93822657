"""Which of the objects found now is which of those known before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vlm_perception.types import WH, XYXY, DetectedObject

# What a bare point covers, as a share of the image's longer side.
_POINT_SIDE = 0.06
# How much a place beside counts against one that overlaps.
_BESIDE = 0.3
# Models name one thing in two ways, so another name is worse, not impossible.
_OTHER_LABEL = 0.4


def match(known: Sequence[DetectedObject], found: Sequence[DetectedObject], image_wh: WH) -> list[tuple[int, int]]:
    """Pair objects of two lists by place and name, for the best sum (Kuhn's Hungarian method).

    Args:
        known: Objects where they are thought to be, in pixels of the frame that was asked about.
        found: Objects of the answer, in pixels of the same frame.
        image_wh: That frame's width and height.

    Returns:
        Index in `known`, index in `found`; each at most once, and only where they overlap or lie side by side.
    """
    if not known or not found:
        return []
    alike = _overlap(boxes(known, image_wh), boxes(found, image_wh))
    other = np.array([[a.label.casefold() != b.label.casefold() for b in found] for a in known])
    alike = alike - _OTHER_LABEL * other
    rows, columns = linear_sum_assignment(np.maximum(alike, 0.0), maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if alike[row, column] > 0.0]


def boxes(objects: Sequence[DetectedObject], image_wh: WH) -> NDArray[np.float64]:
    """Tell what each object covers, (n, 4) xyxy; a bare point is given a small square."""
    return np.array([box(each, image_wh) for each in objects], np.float64).reshape(-1, 4)


def box(thing: DetectedObject, image_wh: WH) -> XYXY:
    """Tell what one object covers; a bare point is given a small square."""
    if thing.xyxy is not None:
        return thing.xyxy
    x, y = thing.point_xy or (0.0, 0.0)
    half = _POINT_SIDE * max(image_wh) / 2
    return x - half, y - half, x + half, y + half


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of every pair, (len(a), len(b)); of two that stand beside each other less than any that overlap well."""
    a, b = a[:, None], b[None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0, None)
    common = sides.prod(-1)
    area_a, area_b = (a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1)
    iou = common / np.maximum(area_a + area_b - common, 1e-9)
    apart = np.hypot(*np.moveaxis(a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:], -1, 0)) / 2
    size = np.maximum(np.sqrt(np.maximum(area_a, area_b)), 1.0)
    # Two of very different size are not one thing beside itself.
    size_alike = np.minimum(area_a, area_b) / np.maximum(np.maximum(area_a, area_b), 1e-9)
    beside = _BESIDE * np.clip(1.0 - apart / size, 0.0, None) * size_alike
    overlap: NDArray[np.float64] = np.maximum(iou, beside)
    return overlap
