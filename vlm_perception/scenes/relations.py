"""How the things of a scene stand to each other, by their boxes alone; what is too close to call is None."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from vlm_perception.types import XYXY

# Centres nearer than this on an axis, in image sides, stand neither left nor right, above nor below.
_MARGIN = 0.05
# By how much the biggest, the nearest and so on must be ahead of the next.
_LEAD = 1.3
_TOUCHING = 0.04
_ALIKE = 3


def left_of(a: XYXY, b: XYXY, side: float) -> bool | None:
    """Whether the centre of `a` is left of that of `b`.

    Args:
        a: One box.
        b: Another one, in the same square pixels.
        side: Image side in these, sqrt(width * height).
    """
    return _clear(_centre(b)[0] - _centre(a)[0], side)


def right_of(a: XYXY, b: XYXY, side: float) -> bool | None:
    """As `left_of`."""
    return left_of(b, a, side)


def above(a: XYXY, b: XYXY, side: float) -> bool | None:
    """Whether the centre of `a` is above that of `b`; see `left_of`."""
    return _clear(_centre(b)[1] - _centre(a)[1], side)


def below(a: XYXY, b: XYXY, side: float) -> bool | None:
    """As `above`."""
    return above(b, a, side)


def inside(a: XYXY, b: XYXY, side: float) -> bool | None:
    """Whether `a` lies wholly within `b`, which is at least twice as large; None where most of it does."""
    shared = _shared(a, b) / max(_area(a), 1e-9)
    if shared < 0.5:
        return False
    return True if shared > 0.98 and _area(b) >= 2 * _area(a) else None


def on_top_of(a: XYXY, b: XYXY, side: float) -> bool | None:
    """Whether `a` stands on `b`: its lower edge touches the upper one of `b`, over half of its width or more."""
    gap = abs(b[1] - a[3]) / side
    over = (min(a[2], b[2]) - max(a[0], b[0])) / max(a[2] - a[0], 1e-9)
    if gap > 2 * _TOUCHING or over < 0.25:
        return False
    return True if gap <= _TOUCHING and over >= 0.5 else None


RELATIONS: dict[str, Callable[[XYXY, XYXY, float], bool | None]] = {
    "left of": left_of,
    "right of": right_of,
    "above": above,
    "below": below,
    "inside": inside,
    "on top of": on_top_of,
}


def said_best(a: XYXY, b: XYXY, side: float) -> str | None:
    """Say how `a` stands to `b`: inside or on top of it, else by the axis on which they are clearly further apart."""
    for name in ("inside", "on top of"):
        if RELATIONS[name](a, b, side):
            return name
    across, down = (abs(p - q) for p, q in zip(_centre(a), _centre(b), strict=True))
    if max(across, down) < _LEAD * min(across, down):
        return None
    names = ("left of", "right of") if across > down else ("above", "below")
    return next((name for name in names if RELATIONS[name](a, b, side)), None)


def biggest(boxes: Sequence[XYXY]) -> int | None:
    """Return the index of the largest box, if it is clearly that."""
    return _ahead([_area(box) for box in boxes])


def smallest(boxes: Sequence[XYXY]) -> int | None:
    """Return the index of the smallest box, if it is clearly that."""
    return _ahead([1 / max(_area(box), 1e-9) for box in boxes])


def nearest(boxes: Sequence[XYXY], to: XYXY) -> int | None:
    """Return the index of the box whose centre is nearest to that of another one, if it is clearly that."""
    return _ahead([1 / max(math.dist(_centre(box), _centre(to)), 1e-9) for box in boxes])


def loneliest(boxes: Sequence[XYXY]) -> int | None:
    """Return the index of the box that is farthest from its nearest neighbour, of three or more, if it is clearly."""
    if len(boxes) < _ALIKE:
        return None
    centres = [_centre(box) for box in boxes]
    return _ahead([min(math.dist(a, b) for j, b in enumerate(centres) if j != i) for i, a in enumerate(centres)])


def odd_one_out(labels: Sequence[str]) -> int | None:
    """Return the index of the only label that differs, where all others, two or more, are the same."""
    counts = Counter(labels)
    if len(labels) < _ALIKE or sorted(counts.values()) != [1, len(labels) - 1]:
        return None
    return next(index for index, label in enumerate(labels) if counts[label] == 1)


def _clear(distance: float, side: float) -> bool | None:
    return None if abs(distance) < _MARGIN * side else distance > 0


def _ahead(values: Sequence[float]) -> int | None:
    """Index of the largest value where no other comes near it; None of fewer than two."""
    if len(values) < 2:
        return None
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    return order[0] if values[order[0]] >= _LEAD * values[order[1]] else None


def _centre(box: XYXY) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _area(box: XYXY) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _shared(a: XYXY, b: XYXY) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
