"""Text as small masks of coverage, kept for the next frame."""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlm_perception.drawing.class_colours import RGB
from vlm_perception.drawing.fonts import FontRun, font_runs, load_font

Mask = NDArray[np.uint8]

_LINE_SHARE = 1.3
_BASELINE_SHARE = 1.0
# No line on a picture holds more; keeps a prompt of megabytes from being measured.
_LONGEST = 400
_DOTS = "…"


def line_height_px(size_px: int) -> int:
    """Return the height of every mask of a text size, pixels."""
    return round(_LINE_SHARE * size_px)


def plain(text: str) -> str:
    """Return one line of at most 400 characters, without control characters and unpaired surrogates."""
    line = " ".join(text[: 4 * _LONGEST].split())
    # Joiners shape letters and emoji; other format characters could reverse or hide the text around them.
    # Variation selectors choose between looks of a sign; a font without them would draw an empty square.
    kept = "".join(
        character
        for character in line
        if (unicodedata.category(character) not in ("Cc", "Cf", "Cs") or character in "\u200c\u200d")
        and not "\ufe00" <= character <= "\ufe0f"
    )
    return kept if len(kept) <= _LONGEST else kept[:_LONGEST] + _DOTS


@lru_cache(maxsize=1024)
def text_mask(text: str, size_px: int, width_px: int) -> Mask | None:
    """Draw one line of text, cut with dots where it is wider than allowed.

    Args:
        text: A line that `plain` has cleaned.
        size_px: Text size; capitals are about 0.7 of it.
        width_px: Widest allowed mask.

    Returns:
        (line_height_px(size_px), at most width_px) uint8 coverage, read-only; None when no font has
        the letters or nothing fits.
    """
    if font_runs(text) is None:
        return None
    drawn = _fitted(text, size_px, width_px)
    runs = _in_drawing_order(font_runs(drawn) or ())
    width = math.ceil(sum(_run_width(run, size_px) for run in runs))
    if not 0 < width <= width_px:
        return None
    image = Image.new("L", (width, line_height_px(size_px)))
    draw = ImageDraw.Draw(image)
    left = 0.0
    for run in runs:
        baseline = (left, round(_BASELINE_SHARE * size_px))
        draw.text(baseline, run.text, fill=255, font=load_font(run.path, size_px), anchor="ls")
        left += _run_width(run, size_px)
    mask = np.array(image, dtype=np.uint8)
    mask.flags.writeable = False
    return mask


def lettered(mask: Mask, rgb: RGB, background: RGB) -> NDArray[np.uint8]:
    """Return the (h, w, 3) picture of a mask in a colour on a plain background."""
    return _shades(rgb, background).take(mask, axis=0)


@lru_cache(maxsize=256)
def _shades(rgb: RGB, background: RGB) -> NDArray[np.uint8]:
    """Return the (256, 3) colours between background and foreground."""
    share = np.linspace(0.0, 1.0, 256)[:, None]
    return np.round(np.array(background) * (1 - share) + np.array(rgb) * share).astype(np.uint8)


def paint(scene: NDArray[np.uint8], mask: Mask, left: int, top: int, rgb: RGB) -> None:
    """Lay a colour through a mask onto an RGB image, in place; what lies outside the image is cut."""
    part = scene[max(0, top) : max(0, top + mask.shape[0]), max(0, left) : max(0, left + mask.shape[1])]
    seen = mask[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1], None].astype(np.uint16)
    part[:] = (part * (255 - seen) + np.array(rgb, np.uint16) * seen + 127) // 255


def _fitted(text: str, size_px: int, width_px: int) -> str:
    if _text_width(text, size_px) <= width_px:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _text_width(text[:middle].rstrip() + _DOTS, size_px) <= width_px:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + _DOTS


def _text_width(text: str, size_px: int) -> float:
    return sum(_run_width(run, size_px) for run in font_runs(text) or ())


@lru_cache(maxsize=4096)
def _run_width(run: FontRun, size_px: int) -> float:
    return float(load_font(run.path, size_px).getlength(run.text))


def _in_drawing_order(runs: tuple[FontRun, ...]) -> tuple[FontRun, ...]:
    """Put runs in order from left to right.

    Inside one run Pillow orders both directions itself (with libraqm, which its wheels hold); runs
    of several fonts follow the direction of the first letter.
    """
    directions = (unicodedata.bidirectional(character) for run in runs for character in run.text)
    first = next((direction for direction in directions if direction in ("L", "R", "AL")), "L")
    return runs if first == "L" else runs[::-1]
