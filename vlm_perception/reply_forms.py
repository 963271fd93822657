"""The forms in which a reply states objects, each turned into candidates that are judged later.

A candidate is what the model wrote, unchecked: JSON items, `<points>` tags,
`x1,y1,x2,y2 name` lines and bare `[x1, y1, x2, y2]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vlm_perception.lenient_json import BOX_KEYS, COORDINATE_KEYS, Values

LABEL_KEYS = ("label", "name", "class", "category", "object", "text_content")

_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_FOUR = rf"{_NUMBER}(?:[ \t]*,\s*{_NUMBER}){{3}}"
# Group 1 is the attributes, group 2 the name; group 2 alone is absent when the end tag is.
TAG = re.compile(r"<points?\s([^<>]*)(?:>(?:([^<]*)</points?>)?|(?P<cut>\Z))")
# Group 1 is the numbers, group 2 the name.
LINE = re.compile(
    rf"^[ \t]*(?:[-*•][ \t]+)?[\[(]?({_FOUR})[ \t]*[\])]?[ \t:;,-]*([^\d\s\[\](),.:;-][^\n]*)?$",
    re.MULTILINE,
)
BARE = re.compile(rf"\[\s*({_FOUR})\s*\]()")
_NUMBERS = re.compile(_FOUR)
_TAG_VALUE = re.compile(r"""\b([xy]\d*|alt)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_KEYED = re.compile(rf"""["'](?:{"|".join(COORDINATE_KEYS)})["']\s*:\s*([^"'{{}}]*)""")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One box (`size` 4) or point (`size` 2) as the model wrote it.

    Attributes:
        key: How to name it in a reason, such as `bbox_2d`.
        value: What stood for its coordinates, of any type.
        size: Numbers it should have.
        label: Its name; empty when it has none.
        attributes: Other keys of its item, as text.
        span: Character range in the reply.
        part: Which of the candidates of its span this is, in the order of the text.
    """

    key: str
    value: Any
    size: int
    label: str
    span: tuple[int, int]
    attributes: Mapping[str, str] = field(default_factory=dict)
    part: int = 0


def json_candidates(values: Values, span: tuple[int, int]) -> Iterator[Candidate]:
    """Read one JSON item; several boxes or points under one key become one candidate each."""
    label_key = next((key for key in LABEL_KEYS if values.get(key) not in (None, "")), "")
    label = as_text(values.get(label_key))
    attributes = {
        as_text(key): as_text(value)
        for key, value in values.items()
        if key not in (*COORDINATE_KEYS, label_key) and value not in (None, "", [], {}, [None])
    }
    number = 0
    for key in values:
        if key in COORDINATE_KEYS:
            size = 4 if key in BOX_KEYS else 2
            for part in _parts(values[key], size):
                yield Candidate(key, part, size, label, span, attributes, number)
                number += 1


def tag_candidates(match: re.Match[str]) -> Iterator[Candidate]:
    """Read one `<points x1= y1= ... alt=>name</points>` match of `TAG`."""
    found = {m[1]: m for m in _TAG_VALUE.finditer(match.string, *match.span(1))}
    alt = found.pop("alt", None)
    label = as_text(match[2] or (alt[2].strip("\"'") if alt else "")).strip()
    numbers = dict.fromkeys(name[1:] for name in found)
    for number in numbers:
        pair = [found[axis + number] for axis in "xy" if axis + number in found]
        values = [part[2].strip("\"'") for part in pair]
        alone = len(numbers) == 1
        span = match.span() if alone else (pair[0].start(), pair[-1].end())
        yield Candidate("points", values, 2, label, span)
    if not numbers:
        yield Candidate("points", [], 2, label, match.span())


def line_candidates(match: re.Match[str]) -> Iterator[Candidate]:
    """Read one match of `LINE` or `BARE`."""
    name = as_text(match[2]).strip(" \t\r\"'.,;")
    start = match.end() - len(match[0].lstrip())
    yield Candidate("box", match[1].split(","), 4, name, (start, match.end()))


def coordinate_ranges(text: str, span: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Find where the coordinates of one object stand.

    Args:
        text: The whole reply.
        span: `DetectedObject.span` of an object parsed from it.

    Returns:
        Character ranges in `text` that hold its numbers and no key, label or attribute.
    """
    start, end = span
    first = text[start : start + 1]
    if first == "{":
        nested = text.find("{", start + 1, end)
        keyed = [match.span(1) for match in _KEYED.finditer(text, start, end)]
        return tuple(part for part in keyed if nested < 0 or part[0] < nested) or tuple(keyed)
    if first and first in "<xy":
        tags = _TAG_VALUE.finditer(text, start, end)
        return tuple(match.span(2) for match in tags if match[1] != "alt")
    numbers = _NUMBERS.search(text, start, end)
    return (numbers.span(),) if numbers else ()


def as_text(value: Any) -> str:
    """Write a JSON value as text that any message can carry: no lone surrogates, no controls."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in text)


def _parts(value: Any, size: int) -> list[Any]:
    nested = isinstance(value, list) and value and all(isinstance(part, list) for part in value)
    if not nested:
        return [value]
    if size == 4 and [len(part) for part in value] == [2, 2]:
        return [value[0] + value[1]]
    return list(value)
