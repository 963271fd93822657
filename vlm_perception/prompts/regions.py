"""Which part of the image a prompt names: "in the left half: cup", "左半边：杯子", "in [40, 0, 200, 120]: cup".

The names stand in prompts/templates.yaml under `regions`; a box is in pixels of the camera image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vlm_perception.errors import PromptError
from vlm_perception.types import Region

# In words, or left, top, right and bottom in pixels; a JSON list may hold anything.
RegionGiven = str | Sequence[Any]

_BEFORE = (
    r"\s*(?:(?:look\s+)?(?:only\s+)?(?:in|inside|within|on|at)\s+(?:the\s+)?)?(?:the\s+)?"
    r"(?:(?:只|仅)?(?:看|在))?(?:这?(?:张|幅)?(?:画面|图像|图片|照片|视野|图)(?:中|里)?的?)?"
)
_AFTER = r"(?:\s+(?:of|in)\s+(?:the|this)\s+(?:image|picture|frame|photo|view))?(?:里面|里|中|内)?\s*"
_COLON = re.compile(r"[:：]")
_BOX = re.compile(
    r"\s*(?:(?:look\s+)?(?:only\s+)?(?:in|inside|within)|(?:只|仅)?(?:看|在))\s*(?:the\s+)?(?:box|region|area|区域|框)?\s*"
    rf"[\[(［（](?P<numbers>[\s\d.,，;+\-eE]*)[\])］）]\s*(?:px)?\s*(?:里面|里|中|内)?\s*{_COLON.pattern}",
    re.IGNORECASE,
)
_BETWEEN_NUMBERS = re.compile(r"[\s,，;]+")


class RegionWords:
    """Knows the names of parts of the image.

    Args:
        named: Pattern of the words and the part, by the name that messages call it.
    """

    def __init__(self, named: Mapping[str, tuple[str, Region]]) -> None:
        self._names = ", ".join(named)
        self._patterns = [
            (re.compile(rf"{_BEFORE}(?:{words}|{re.escape(name)}){_AFTER}", re.IGNORECASE), region)
            for name, (words, region) in named.items()
        ]

    def split(self, text: str) -> tuple[Region | None, str]:
        """Part a text into the region in front of its first colon and what is asked about it.

        Returns:
            The region, None when the text names none, and the rest of the text.

        Raises:
            PromptError: It names a box that is no rectangle, or two parts.
        """
        region, rest = self._split_once(text)
        if region is not None and self._split_once(rest)[0] is not None:
            raise two_parts(text)
        return region, rest

    def read(self, given: RegionGiven) -> Region:
        """Read a region that is given apart from the text.

        Raises:
            PromptError: It is no known name, and no list of four pixels that are a rectangle.
        """
        if isinstance(given, str):
            region = self._named(given)
            if region is None:
                raise PromptError(f"region {given[:80]!r} is unknown: use one of {self._names}, or [x1, y1, x2, y2]")
            return region
        return _box(given)

    def _split_once(self, text: str) -> tuple[Region | None, str]:
        box = _BOX.match(text)
        if box is not None:
            return _box(_BETWEEN_NUMBERS.split(box["numbers"].strip(" ,，;\t\n"))), text[box.end() :].strip()
        front, *rest = _COLON.split(text, maxsplit=1)
        region = self._named(front) if rest else None
        return (None, text) if region is None else (region, rest[0].strip())

    def _named(self, words: str) -> Region | None:
        return next((region for pattern, region in self._patterns if pattern.fullmatch(words)), None)


def two_parts(text: str) -> PromptError:
    """Return the error about a prompt that names two parts of the image."""
    return PromptError(f"prompt {text[:80]!r} names two parts of the image: leave one out")


def _box(given: Any) -> Region:
    try:
        left, top, right, bottom = (float(edge) for edge in given if not isinstance(edge, bool))
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(
            f"region {str(given)[:80]} is no box: give four numbers, left, top, right, bottom, in pixels of the image"
        ) from error
    return Region((left, top, right, bottom), "px")
