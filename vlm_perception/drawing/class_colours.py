"""One colour for each label: the same in every frame, and text that can be read on it."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterable, Sequence

RGB = tuple[int, int, int]

BLACK: RGB = (0, 0, 0)
WHITE: RGB = (255, 255, 255)

# (saturation, value) of the tones; all far from gray, so that a box stands out from a room.
_TONES = ((0.85, 0.95), (0.60, 1.00), (0.90, 0.72))
_NEAR_DEG = 28
_STEP_DEG = 47


def class_colours(labels: Iterable[str], targets: Sequence[str] = ()) -> dict[str, RGB]:
    """Choose a colour for each label.

    A colour follows from the label's own text, so it does not depend on which other objects are in
    the frame. The phrases that were asked for are known and the same in every frame: where two of
    them would look alike, the later one moves on.

    Args:
        labels: Labels of the objects; case and spacing do not matter.
        targets: Phrases that were asked for, in order.

    Returns:
        RGB by label.
    """
    hues: dict[str, int] = {}
    for key in dict.fromkeys(map(_key, targets)):
        hue = _hue_deg(key)
        for _ in range(360 // _NEAR_DEG):
            if all(_apart_deg(hue, used) >= _NEAR_DEG for used in hues.values()):
                break
            hue = (hue + _STEP_DEG) % 360
        hues[key] = hue
    return {label: _rgb(hues.get(_key(label), _hue_deg(_key(label))), _tone(_key(label))) for label in labels}


def text_colour(background: RGB) -> RGB:
    """Return black or white, whichever contrasts more: at least 4.5 to 1 on any colour (WCAG 2.1)."""
    return max((BLACK, WHITE), key=lambda colour: contrast(colour, background))


def contrast(first: RGB, second: RGB) -> float:
    """Return the contrast ratio of two sRGB colours, 1 to 21 (WCAG 2.1, 1.4.3)."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _key(label: str) -> str:
    return " ".join(label.casefold().split())


def _hash(key: str) -> int:
    # Not hash(): Python salts it anew in every process.
    return zlib.crc32(key.encode("utf-8", "surrogatepass"))


def _hue_deg(key: str) -> int:
    return _hash(key) % 360


def _tone(key: str) -> tuple[float, float]:
    return _TONES[_hash(key) // 360 % len(_TONES)]


def _apart_deg(first: int, second: int) -> int:
    return abs((first - second + 180) % 360 - 180)


def _rgb(hue_deg: int, tone: tuple[float, float]) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(hue_deg / 360, *tone)
    return round(255 * red), round(255 * green), round(255 * blue)


def _luminance(rgb: RGB) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
