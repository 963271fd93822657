"""The thin bar below the picture: the prompt, what was found, what was said. It hides no pixel of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlm_perception.drawing.lettering import Mask, line_height_px, paint, plain, text_mask
from vlm_perception.types import WH, Result

_LINES = 2
# Narrower, not even a number can be read.
_NARROWEST_LINES = 3
_HIGHEST_SHARE = 0.25
_BACKGROUND = 32
_PROMPT: tuple[int, int, int] = (255, 255, 255)
_FOUND: tuple[int, int, int] = (255, 214, 120)
_NO_FONT = "(a script without a font)"


def summary(result: Result, left_out: int) -> str:
    """Say in a few words what was found; `left_out` objects have no label in the picture.

    Empty where words were asked for and came, and no object with them.
    """
    parts = [] if result.words_alone else [f"{len(result.objects)} found"]
    if result.count is not None:
        parts.insert(0, f"count {result.count}")
    if left_out:
        parts.append(f"{left_out} without label")
    if result.partial:
        parts.append("partial")
    if result.truncated:
        parts.append("truncated")
    return ", ".join(parts)


def caption_height_px(text_px: int, image_wh: WH) -> int:
    """Return the height of the bar, an even number: two lines, fewer below low images, none below narrow ones.

    It follows from the image's size alone, so that the pictures of a camera and the frames of a video have one size.
    """
    line = line_height_px(text_px)
    if image_wh[0] < _NARROWEST_LINES * line:
        return 0
    lines = next((lines for lines in range(_LINES, 0, -1) if line * lines <= _HIGHEST_SHARE * image_wh[1]), 0)
    return line * lines + line * lines % 2


def write_caption(bar: NDArray[np.uint8], text_px: int, prompt: str, found: str, said: str = "") -> None:
    """Write the prompt on the left, what was found on the right, what was said below, in place.

    Args:
        bar: (caption_height_px, width, 3) part of the picture below the image.
        text_px: Text size.
        prompt: What was asked.
        found: A few words that every font has.
        said: The model's own words.
    """
    bar[:] = _BACKGROUND
    height, width = bar.shape[:2]
    line, pad = line_height_px(text_px), text_px // 2
    room = width - 2 * pad
    if height < line or room <= 0:
        return
    found_mask = text_mask(found, text_px, room)
    found_px = 0 if found_mask is None else found_mask.shape[1]
    _write(bar, found_mask, width - pad - found_px, 0, _FOUND)
    _write(bar, _text(prompt, text_px, room - found_px - 2 * pad), pad, 0, _PROMPT)
    if height >= 2 * line:
        _write(bar, _text(said, text_px, room), pad, line, _PROMPT)


def _write(bar: NDArray[np.uint8], mask: Mask | None, left: int, top: int, rgb: tuple[int, int, int]) -> None:
    if mask is not None:
        paint(bar, mask, left, top, rgb)


def _text(text: str, size_px: int, width_px: int) -> Mask | None:
    mask = text_mask(plain(text), size_px, width_px)
    return mask if mask is not None or not plain(text) else text_mask(_NO_FONT, size_px, width_px)
