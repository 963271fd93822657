"""Where labels stand: near their objects, inside the image, never on one another.

Greedy: the smallest object chooses first, because it has the fewest good places. Each takes the
cheapest of some places around its box; when every one of them would cover a label, places all over
the image. A label for which there is no free place at all is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

_RINGS = 5
# Costs: hiding a whole object is the worst, a part of an object costs less the larger the object is
# (a label on a wall hides nothing of the wall), and each step away costs a little.
_COVERS_OBJECT = 1.5
_COVERS_SOMETHING = 0.35
_LARGE_IN_LABELS = 20.0
_COVERS_OWN = 0.5
_PER_HEIGHT_AWAY = 0.12
_PER_RANK = 0.01
_GRID_AT_MOST = 800


@dataclass(frozen=True, slots=True)
class Place:
    """A label's place in whole pixels; `moved` when it does not touch its object."""

    left: int
    top: int
    moved: bool


def place_labels(xyxy: Boxes, label_wh: NDArray[np.int64], area_wh: tuple[int, int]) -> list[Place | None]:
    """Find a place for the label of each object.

    Args:
        xyxy: (n, 4) what the labels belong to, with its drawn lines, pixels; a point is the box around its dot.
        label_wh: (n, 2) sizes of the labels, pixels.
        area_wh: The labels stay within (0, 0) and this, pixels.

    Returns:
        For each object a place that overlaps no other label, or None where there is none.
    """
    placed, done = np.empty_like(xyxy), 0
    places: list[Place | None] = [None] * len(xyxy)
    sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1.0)
    for index in np.argsort(sides.prod(axis=1), kind="stable"):
        size = label_wh[index].astype(np.float64)
        if (size > area_wh).any():
            continue
        for wider in (False, True):
            candidates = _everywhere(size, area_wh) if wider else _around(xyxy[index], size)
            rects = _moved_inside(candidates, size, area_wh)
            free = ~_overlaps(rects, placed[:done]).any(axis=1)
            rects, ranks = rects[free], np.flatnonzero(free)
            if len(rects):
                costs = _costs(rects, int(index), xyxy, sides) + (0 if wider else _PER_RANK * ranks)
                chosen = rects[np.argmin(costs)]
                placed[done] = chosen
                done += 1
                places[index] = Place(int(chosen[0]), int(chosen[1]), bool(_gap(chosen[None], xyxy[index])[0] > 1))
                break
    return places


def _around(box: Boxes, size: Boxes) -> Boxes:
    """Return (n, 2) upper left corners in order of preference: outside, inside, then further and further away."""
    (left, top, right, bottom), (width, height) = box, size
    last, middle = right - width, (left + right - width) / 2
    beside, before, above, low = right, left - width, top - height, bottom - height
    corners = [(left, above), (last, above), (left, bottom), (last, bottom), (beside, top), (before, top)]
    corners += [(beside, low), (before, low), (left, top), (last, top), (left, low), (last, low)]
    corners += [(middle, above), (middle, bottom)]
    for ring in range(1, _RINGS + 1):
        away = ring * (height + 2)
        for x in (left, middle, left - width / 2, right - width / 2):
            corners += [(x, above - away), (x, bottom + away)]
        corners += [(beside + away, top), (before - away, top), (beside + away, low), (before - away, low)]
    return np.array(corners, dtype=np.float64)


def _everywhere(size: Boxes, area_wh: tuple[int, int]) -> Boxes:
    step_x, step_y = max(1.0, size[0] / 2), size[1]
    sparser = max(1.0, np.sqrt(area_wh[0] / step_x * area_wh[1] / step_y / _GRID_AT_MOST))
    xs, ys = np.arange(0, area_wh[0], step_x * sparser), np.arange(0, area_wh[1], step_y * sparser)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def _moved_inside(corners: Boxes, size: Boxes, area_wh: tuple[int, int]) -> Boxes:
    corners = np.clip(np.round(corners), 0, np.array(area_wh) - size)
    return np.hstack([corners, corners + size])


def _costs(rects: Boxes, own: int, xyxy: Boxes, sides: Boxes) -> Boxes:
    covered = _overlaps(rects, xyxy)
    label_area = np.prod(rects[0, 2:] - rects[0, :2])
    object_areas = sides.prod(axis=1)
    something = _COVERS_SOMETHING / (1 + object_areas / (_LARGE_IN_LABELS * label_area))
    weights = covered * (_COVERS_OBJECT / object_areas + something / label_area)
    weights[:, own] *= _COVERS_OWN
    away = _gap(rects, xyxy[own]) / (rects[0, 3] - rects[0, 1])
    cost: Boxes = weights.sum(axis=1) + away * _PER_HEIGHT_AWAY
    return cost


def _overlaps(first: Boxes, second: Boxes) -> Boxes:
    """Return the (n, m) areas that n and m boxes share."""
    left, top, right, bottom = first.T[:, :, None]
    other_left, other_top, other_right, other_bottom = second.T[:, None, :]
    across = np.minimum(right, other_right) - np.maximum(left, other_left)
    down = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    area: Boxes = np.maximum(across, 0) * np.maximum(down, 0)
    return area


def _gap(rects: Boxes, box: Boxes) -> Boxes:
    """Return (n,) distances between the nearest edges, pixels; 0 when they touch or overlap."""
    apart = np.maximum(np.maximum(box[:2] - rects[:, 2:], rects[:, :2] - box[2:]), 0)
    distance: Boxes = np.hypot(apart[:, 0], apart[:, 1])
    return distance
