"""A small table on paper, and what it says: for models that read documents; the tiny ones are not taught to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.scenes import COLOURS, KINDS, Truth
from vlm_perception.types import WH

_HEAD = ("thing", "number")
_ROWS = 3
_CELL_WH: WH = (190, 60)
_INK, _PAPER = (40, 40, 48), (236, 233, 226)


def draw_table(seed: int, image_wh: WH) -> tuple[NDArray[np.uint8], Truth]:
    """Draw one; the same seed gives the same.

    Args:
        seed: Chooses words, numbers and the place.
        image_wh: Size of the image, larger than the table's 380x240 pixels.

    Returns:
        (h, w, 3) uint8 RGB, and the table, whose text has a line a row and `|` between cells, as `~/answer` has it.
    """
    rng = np.random.default_rng(seed)
    lines = [
        _HEAD,
        *((f"{rng.choice(list(COLOURS))} {rng.choice(KINDS)}", f"{rng.integers(1, 100)}") for _ in range(_ROWS)),
    ]
    wide, high = len(_HEAD) * _CELL_WH[0], len(lines) * _CELL_WH[1]
    left, top = int(rng.integers(10, image_wh[0] - wide - 10)), int(rng.integers(10, image_wh[1] - high - 10))
    rgb = np.full((image_wh[1], image_wh[0], 3), _PAPER, np.uint8)
    for row, cells in enumerate(lines):
        for column, words in enumerate(cells):
            x, y = left + column * _CELL_WH[0], top + row * _CELL_WH[1]
            cv2.rectangle(rgb, (x, y), (x + _CELL_WH[0], y + _CELL_WH[1]), _INK, 2)
            at = (x + 12, y + _CELL_WH[1] - 22)
            cv2.putText(rgb, words, at, cv2.FONT_HERSHEY_DUPLEX, 0.7, _INK, 1, cv2.LINE_AA)
    box = (float(left), float(top), float(left + wide), float(top + high))
    return rgb, Truth("table", box, text=("\n".join(" | ".join(cells) for cells in lines), box))
