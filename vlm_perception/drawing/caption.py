"""The thin strip along the lower edge: the prompt, what was found, what was said."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.drawing.lettering import Mask, line_height_px, paint, plain, text_mask
from vlm_perception.types import WH, Result

# White on it keeps a contrast of 9 to 1, whatever the picture shows.
_BRIGHTEST = 70
_HIGHEST_SHARE = 0.16
_PROMPT: tuple[int, int, int] = (255, 255, 255)
_FOUND: tuple[int, int, int] = (255, 214, 120)
_NO_FONT = "(a script without a font)"


def summary(result: Result, left_out: int) -> str:
    """Say in a few words what was found; `left_out` objects have no label in the picture."""
    parts = [f"{len(result.objects)} found"]
    if result.count is not None:
        parts.insert(0, f"count {result.count}")
    if left_out:
        parts.append(f"{left_out} without label")
    if result.partial:
        parts.append("partial")
    if result.truncated:
        parts.append("truncated")
    return ", ".join(parts)


def caption_height_px(result: Result, text_px: int, image_wh: WH) -> int:
    """Return the height of the strip: two lines when something was said, fewer where the image is low."""
    line = line_height_px(text_px)
    wanted = 2 if plain(result.text) else 1
    return line * next((lines for lines in range(wanted, 0, -1) if line * lines <= _HIGHEST_SHARE * image_wh[1]), 0)


def darken_for_caption(scene: NDArray[np.uint8], height_px: int) -> None:
    """Darken the strip in place; done before boxes are drawn, so that their lower edges stay seen."""
    if height_px:
        strip = scene[-height_px:]
        strip[:] = cv2.convertScaleAbs(strip, alpha=_BRIGHTEST / 255)


def write_caption(scene: NDArray[np.uint8], result: Result, text_px: int, height_px: int, left_out: int) -> None:
    """Write the prompt on the left, what was found on the right, what was said below, in place."""
    height, width = scene.shape[:2]
    line, pad = line_height_px(text_px), text_px // 2
    room = width - 2 * pad
    if height_px < line or room <= 0:
        return
    top = height - height_px
    found = text_mask(summary(result, left_out), text_px, room)
    found_px = 0 if found is None else found.shape[1]
    _write(scene, found, width - pad - found_px, top, _FOUND)
    _write(scene, _text(result.request.prompt.text, text_px, room - found_px - 2 * pad), pad, top, _PROMPT)
    if height_px >= 2 * line:
        _write(scene, _text(result.text, text_px, room), pad, top + line, _PROMPT)


def _write(scene: NDArray[np.uint8], mask: Mask | None, left: int, top: int, rgb: tuple[int, int, int]) -> None:
    """Paint a line; edges of boxes behind it are made as dark as the strip."""
    if mask is not None:
        part = scene[top : top + mask.shape[0], left : left + mask.shape[1]]
        np.minimum(part, _BRIGHTEST, out=part)
        paint(scene, mask, left, top, rgb)


def _text(text: str, size_px: int, width_px: int) -> Mask | None:
    mask = text_mask(plain(text), size_px, width_px)
    return mask if mask is not None or not plain(text) else text_mask(_NO_FONT, size_px, width_px)
