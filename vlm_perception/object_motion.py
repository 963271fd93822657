"""Where the objects of the last answer stand now, from the two answers before: constant velocity, no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlm_perception.reply_shape import Item, Shape
from vlm_perception.types import WH

# Shares of the model image's longer side.
_FARTHEST_MATCH = 0.25
# A model's own coordinates tremble by about a pixel; that is no motion.
_TREMBLE_PX = 1.0
_MOST_AHEAD = 3.0


def moved(last: Shape, before: Shape, ahead: float, model_wh: WH) -> Shape:
    """Move every object of the last answer on.

    Args:
        last: The newest answer.
        before: The answer before that.
        ahead: How far to go on, in times of what lay between the two answers; at most 3 are used.
        model_wh: Bounds of the coordinates, pixels.

    Returns:
        The last answer with other numbers; objects without a match in `before` stay.
    """
    left = list(before.items)
    items = []
    for item in last.items:
        match = _nearest(item, left, _FARTHEST_MATCH * max(model_wh))
        if match is not None:
            left.remove(match)
            item = _moved_item(item, match, min(max(ahead, 0.0), _MOST_AHEAD), model_wh)
        items.append(item)
    return replace(last, items=tuple(items))


def _nearest(item: Item, others: Sequence[Item], farthest_px: float) -> Item | None:
    """Find the object of the same form and label that is nearest, by its mean coordinate."""
    numbers = item.numbers()
    alike = [o for o in others if numbers and o.kinds == item.kinds and o.words() == item.words()]
    distances = [sum(abs(a - b) for a, b in zip(numbers, o.numbers(), strict=True)) / len(numbers) for o in alike]
    near = min(distances, default=farthest_px)
    return alike[distances.index(near)] if near < farthest_px else None


def _moved_item(item: Item, earlier: Item, ahead: float, model_wh: WH) -> Item:
    """Move x and y by the mean of their changes, so that a tremble of one edge counts less."""
    now, then = item.numbers(), earlier.numbers()
    steps = []
    for axis in (0, 1):
        changes = [a - b for a, b in zip(now[axis::2], then[axis::2], strict=True)]
        mean = sum(changes) / len(changes) if changes else 0.0
        steps.append(mean * ahead if abs(mean) >= _TREMBLE_PX else 0.0)
    slots, place = list(item.slots), 0
    for index, slot in enumerate(slots):
        if isinstance(slot, int):
            slots[index] = min(max(round(slot + steps[place % 2]), 0), model_wh[place % 2])
            place += 1
    return replace(item, slots=tuple(slots))
