"""What a JSON item of a reply states, as candidates that are judged later."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vlm_perception.replies.lenient_json import BOX_KEYS, COORDINATE_KEYS, Values

LABEL_KEYS = ("label", "name", "class", "category", "object", "text_content", "class_name", "labels")

_CORNERS = (
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"),
)
_CORNER_AND_SIZE = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_POINT = ("x", "y")
_IN_BRACKETS = re.compile(r"[\s\d.,;:()\[\]+\-eE]*\d[\s\d.,;:()\[\]+\-eE]*")
_NEITHER_SIGN_NOR_DIGIT = re.compile(r"[\s,;:()\[\]]+")
_DEEPEST = 3


class Candidate(NamedTuple):
    """One box (`size` 4) or point (`size` 2) as the model wrote it.

    Attributes:
        key: How to name it in a reason, such as `bbox_2d`.
        value: What stood for its coordinates, of any type.
        size: Numbers it should have.
        label: Its name; empty when it has none.
        attributes: Other keys of its item, as text.
        span: Character range in the reply.
    """

    key: str
    value: Any
    size: int
    label: str
    span: tuple[int, int]
    attributes: Mapping[str, str] = {}


def json_candidates(values: Values, span: tuple[int, int]) -> Iterator[Candidate]:
    """Read one JSON item; several boxes or points under one key become one candidate each."""
    box, label = values.get("bbox_2d"), values.get("label")
    if len(values) == 2 and label and type(label) is str and type(box) is list and set(map(type, box)) == {int}:
        # What nearly every item is; the rest reads it the same, but slower.
        yield Candidate("bbox_2d", box, 4, as_text(label), span)
        return
    label_key = next((key for key in LABEL_KEYS if values.get(key) not in (None, "")), "")
    located: dict[str, Any] = {key: value for key, value in values.items() if key in COORDINATE_KEYS}
    spread: tuple[str, ...] = ()
    if not located:
        spread, numbers = coordinates_of(values) or ((), [])
        located = {"box" if len(numbers) == 4 else "point": numbers}
    attributes = {
        as_text(key): as_text(value)
        for key, value in values.items()
        if key != label_key and key not in located and key not in spread and value not in (None, "", [], {}, [None])
    }
    for key, value in located.items():
        size = 4 if key in BOX_KEYS else 2
        parts = _parts(value, size)
        names = values.get(label_key)
        # As many names as boxes: one each.
        each = names if isinstance(names, list) and len(names) == len(parts) else [names] * len(parts)
        for part, name in zip(parts, each, strict=True):
            yield Candidate(key, part, size, as_text(name), span, attributes)


def coordinates_of(values: Values) -> tuple[tuple[str, ...], list[Any]] | None:
    """Read coordinates that have a key each, such as x1, y1, x2, y2 or x, y, width, height.

    Returns:
        The keys, and what they hold as (x1, y1, x2, y2) or (x, y); None when there are none.
    """
    for keys in _CORNERS:
        if values.keys() >= set(keys):
            return keys, [values[key] for key in keys]
    for keys in _CORNER_AND_SIZE:
        if values.keys() >= set(keys):
            left, top, width, height = (values[key] for key in keys)
            return keys, [left, top, _sum(left, width), _sum(top, height)]
    return (_POINT, [values["x"], values["y"]]) if "x" in values and "y" in values else None


def as_text(value: Any) -> str:
    """Write a JSON value as text that any message can carry: no lone surrogates, no controls."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in text)


def numbers_in(text: str) -> list[str] | None:
    """Split `1, 2, 30, 40` or `(1, 2), (30, 40)`; None when it says anything else, too."""
    if not _IN_BRACKETS.fullmatch(text):
        return None
    return [word for word in _NEITHER_SIGN_NOR_DIGIT.split(text) if word]


def _parts(value: Any, size: int, depth: int = 0) -> list[Any]:
    """Take the coordinates of several boxes or points apart."""
    if isinstance(value, str):
        return [numbers_in(value) or value]
    if isinstance(value, dict):
        placed = coordinates_of(value)
        return [placed[1] if placed else value]
    nested = isinstance(value, list) and all(part is None or isinstance(part, (list, dict)) for part in value)
    if not nested or depth == _DEEPEST or not any(value):
        return [value]
    if size == 4 and len(value) == 2 and all(map(_is_corner, value)):
        return [value[0] + value[1]]
    return [piece for part in value for piece in _parts(part, size, depth + 1)]


def _is_corner(part: Any) -> bool:
    return isinstance(part, list) and len(part) == 2 and not any(isinstance(number, list) for number in part)


def _sum(start: Any, length: Any) -> Any:
    try:
        return float(start) + float(length)
    except (TypeError, ValueError, OverflowError):
        return length
