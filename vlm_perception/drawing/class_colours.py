"""One colour for each label: the same in every frame, the one that it names, and text that can be read on it."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterable, Sequence

from vlm_perception.drawing.colour_words import HSV, named_colour
from vlm_perception.types import DetectedObject

RGB = tuple[int, int, int]

BLACK: RGB = (0, 0, 0)
WHITE: RGB = (255, 255, 255)
_FAINT_BELOW = 0.3

# (saturation, value) of the tones; all far from gray, so that a box stands out from a room.
_TONES = ((0.85, 0.95), (0.60, 1.00), (0.90, 0.72))
# Saturation and value of a named colour are multiplied by these, and its hue moves so far, so that red things differ.
# More would make salmon of red, and brown of orange.
_VARIANTS = ((1.0, 1.0), (0.85, 1.0), (1.0, 0.85), (0.85, 0.85))
_NAMED_HUES_DEG = (0, -6, 6, -3, 3)
_NEAR_DEG = 28
_STEP_DEG = 47


def class_colours(labels: Iterable[str], targets: Sequence[str] = ()) -> dict[str, RGB]:
    """Choose a colour for each label.

    A colour follows from the label's own text, so it does not depend on which other objects are in
    the frame. A label that names a colour gets a tone of that. The phrases that were asked for are known
    and the same in every frame: where two of them would look alike, the later one moves on.

    Args:
        labels: Labels of the objects; case and spacing do not matter.
        targets: Phrases that were asked for, in order.

    Returns:
        RGB by label.
    """
    colours: dict[str, RGB] = {}
    hues: list[int] = []
    keys = list(dict.fromkeys(map(_key, targets)))
    named = {key: colour for key in keys if (colour := named_colour(key)) is not None}
    for key, colour in named.items():
        choices = [_variant(colour, _hash(key) + step) for step in range(len(_VARIANTS) * len(_NAMED_HUES_DEG))]
        colours[key] = next((choice for choice in choices if choice not in colours.values()), choices[0])
        if colour[1]:
            hues.append(round(colour[0]))
    for key in keys:
        if key in named:
            continue
        hue = _hue_deg(key)
        for _ in range(360 // _NEAR_DEG):
            if all(_apart_deg(hue, used) >= _NEAR_DEG for used in hues):
                break
            hue = (hue + _STEP_DEG) % 360
        hues.append(hue)
        colours[key] = _rgb((hue, *_tone(key)))
    return {label: colours.get(_key(label)) or _of(_key(label)) for label in labels}


def is_faint(found: DetectedObject) -> bool:
    """Whether an object's score is so small that it is drawn faintly; one without a score is not."""
    return found.score is not None and found.score < _FAINT_BELOW


def text_colour(background: RGB) -> RGB:
    """Return black or white, whichever contrasts more: at least 4.5 to 1 on any colour (WCAG 2.1)."""
    return max((BLACK, WHITE), key=lambda colour: contrast(colour, background))


def contrast(first: RGB, second: RGB) -> float:
    """Return the contrast ratio of two sRGB colours, 1 to 21 (WCAG 2.1, 1.4.3)."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _of(key: str) -> RGB:
    colour = named_colour(key)
    return _rgb((_hue_deg(key), *_tone(key))) if colour is None else _variant(colour, _hash(key))


def _variant(colour: HSV, number: int) -> RGB:
    hue_deg, saturation, value = colour
    # Black, white and gray have no hue to move, and only one of each is what it is called.
    if saturation == 0:
        return _rgb(colour)
    number, hue_index = divmod(number, len(_NAMED_HUES_DEG))
    less_saturation, less_value = _VARIANTS[number % len(_VARIANTS)]
    return _rgb(((hue_deg + _NAMED_HUES_DEG[hue_index]) % 360, saturation * less_saturation, value * less_value))


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


def _rgb(colour: HSV) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(colour[0] / 360, *colour[1:])
    return round(255 * red), round(255 * green), round(255 * blue)


def _luminance(rgb: RGB) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
