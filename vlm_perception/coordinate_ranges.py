"""Where the coordinates of an object stand in its reply, for its score."""

from __future__ import annotations

import re

from vlm_perception.lenient_json import COORDINATE_KEYS, FULL_WIDTH
from vlm_perception.text_forms import FOUR, NUMBER, PAIR, TAG_VALUE

# The value of a coordinate key: an object of numbers, or a list, maybe of numbers in quotes.
_KEYED = re.compile(rf"""(?:["']|\b)(?:{"|".join(COORDINATE_KEYS)})["']?\s*:\s*(\{{[^{{}}]*\}}|[^{{}}A-Za-z]*)""")
_SPREAD = re.compile(
    r"""(?:["']|\b)(?:[xy][0-3]?|[xy]_?m(?:in|ax)|left|top|right|bottom|w|h|width|height)["']?\s*:\s*["']?([-+.\deE]+)"""
)
_BOX_TOKEN = re.compile(r"<(?:\|(?:box|quad)_start\||box|point)>([^<]*)")
_NUMBERS = re.compile(rf"{PAIR}[ \t]*,?[ \t]*{PAIR}|{FOUR}|{NUMBER}(?:[\s,()\[\]]+{NUMBER})+")

Span = tuple[int, int]


def coordinate_ranges(text: str, span: Span) -> tuple[Span, ...]:
    """Find where the coordinates of one object stand.

    Args:
        text: The whole reply.
        span: `DetectedObject.span` of an object parsed from it.

    Returns:
        Character ranges in `text` that hold its numbers and no key, label or attribute.
    """
    start, end = span
    piece = text[start:end].translate(FULL_WIDTH)
    return tuple((start + first, start + last) for first, last in _ranges(piece))


def _ranges(piece: str) -> list[Span]:
    if piece[:1] == "{":
        return _ranges_in_item(piece)
    token = _BOX_TOKEN.search(piece)
    if token:
        return [token.span(1)]
    if piece[:1] in ("<", "x", "y") and "=" in piece:
        return [match.span(2) for match in TAG_VALUE.finditer(piece) if match[1] != "alt"]
    numbers = _NUMBERS.search(piece)
    return [numbers.span()] if numbers else []


def _ranges_in_item(piece: str) -> list[Span]:
    found = []
    for match in _KEYED.finditer(piece):
        if match[1][:1] == "{":
            found += [number.span(1) for number in _SPREAD.finditer(piece, *match.span(1))]
        else:
            found.append(match.span(1))
    found = found or [number.span(1) for number in _SPREAD.finditer(piece)]
    nested = piece.find("{", 1)
    own = [part for part in found if nested < 0 or part[0] < nested]
    return own or found
