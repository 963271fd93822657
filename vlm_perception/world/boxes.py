"""Boxes: what an object covers, and how well boxes fit each other."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_perception.types import WH, XYXY, DetectedObject

# What a bare point covers, as a share of the image's longer side.
_POINT_SIDE = 0.06


def box_of(thing: DetectedObject, image_wh: WH) -> XYXY:
    """Tell what an object covers, in pixels; a bare point is given a small square."""
    if thing.xyxy is not None:
        return thing.xyxy
    x, y = thing.point_xy or (0.0, 0.0)
    half = _POINT_SIDE * max(image_wh) / 2
    return x - half, y - half, x + half, y + half


def iou(a: XYXY, b: XYXY) -> float:
    """Intersection over union of two boxes, 0..1; 0 when neither has an area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else 0.0


def match_boxes(found: Sequence[XYXY], truths: Sequence[XYXY]) -> tuple[tuple[int, int, float], ...]:
    """Pair every found box with at most one true one, best overlaps first.

    Returns:
        (index in `found`, index in `truths`, IoU) of every pair that overlaps at all.
    """
    pairs = sorted(
        ((iou(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(truths)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    taken_found: set[int] = set()
    taken_truths: set[int] = set()
    matches: list[tuple[int, int, float]] = []
    for overlap, i, j in pairs:
        if overlap > 0 and i not in taken_found and j not in taken_truths:
            taken_found.add(i)
            taken_truths.add(j)
            matches.append((i, j, overlap))
    return tuple(matches)


def _area(box: XYXY) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
