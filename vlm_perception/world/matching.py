"""Which of the objects found now is which of those known before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vlm_perception.prompts.words import name_key
from vlm_perception.types import WH, DetectedObject
from vlm_perception.world.boxes import box_of

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
    known_xyxy, found_xyxy = (np.array([box_of(thing, image_wh) for thing in things]) for things in (known, found))
    known_names, found_names = ([name_key(thing.label) for thing in things] for things in (known, found))
    other = np.array([[a != b for b in found_names] for a in known_names])
    alike = _overlap(known_xyxy, found_xyxy) - _OTHER_LABEL * other
    rows, columns = linear_sum_assignment(np.maximum(alike, 0.0), maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if alike[row, column] > 0.0]


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
