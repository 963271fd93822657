"""Whether the boxes of a reply are in the frame that they should be in: judged from all of them, and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vlm_perception.types import WH, XY, Remark


def are_fractions(value: Any, numbers: Sequence[float]) -> bool:
    """Tell whether numbers are shares of the image: all within 0..1, and written with a decimal point.

    In pixels such a box would be smaller than one; whole numbers are the corner pixel.

    Args:
        value: The numbers as they were written, strings or not.
        numbers: What they are.
    """
    if max(numbers) > 1.0 or min(numbers) < 0.0:
        return False
    return any(isinstance(part, float) or (isinstance(part, str) and "." in part) for part in value)


class FrameWatch:
    """Looks at every box of one reply.

    Args:
        image_wh: Size of the camera image, pixels.
    """

    def __init__(self, image_wh: WH) -> None:
        self._image_wh = image_wh
        self._boxes = self._swapped = self._fractions = 0
        self._sides: Counter[str] = Counter()

    def see_fractions(self) -> None:
        """Something was read as shares of the image."""
        self._fractions += 1

    def see_box(self, corners: Sequence[float], scale: XY) -> None:
        """Look at two corners as they were written, in any order."""
        x1, y1, x2, y2 = corners
        self._boxes += 1
        self._swapped += x2 < x1 or y2 < y1
        x, y = (x1 + x2) / 2 * scale[0], (y1 + y2) / 2 * scale[1]
        width, height = self._image_wh
        outside = {"left of": x < 0, "right of": x > width, "above": y < 0, "below": y > height}
        self._sides.update(side for side, is_so in outside.items() if is_so)

    def remarks(self) -> tuple[Remark, ...]:
        """Tell what is odd about them."""
        found = []
        if self._fractions:
            text = f"coordinates between 0 and 1 were read as fractions of the image ({self._fractions} of them)"
            found.append(Remark("fractions", text))
        if 2 * self._swapped > self._boxes:
            text = f"looks like x, y, width, height: {self._swapped} of {self._boxes} boxes have their corners swapped"
            found.append(Remark("width_height", text))
        side, count = max(self._sides.items(), key=lambda pair: pair[1], default=("", 0))
        if 2 * count > self._boxes:
            text = f"coordinates of another frame? {count} of {self._boxes} boxes lie {side} the image"
            found.append(Remark("other_frame", text))
        return tuple(found)
