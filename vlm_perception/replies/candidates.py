"""What a JSON item of a reply states, as candidates that are validated later."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from vlm_perception.replies.lenient_json import BOX_KEYS, COORDINATE_KEYS, TreeNode, Values, plain
from vlm_perception.types import EvidenceSpans, Span

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
_NOTHING = TreeNode(None, (0, 0))
# The form the model was trained for, read in one go where all of it is there; nothing but speed.
CLEAN_ITEM = re.compile(
    r'\{\s*"bbox_2d"\s*:\s*\[\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})'
    r'\s*\]\s*,\s*"label"\s*:\s*"([^"\\{｛}\n]+)"\s*\}'
)
_IN_BRACKETS = re.compile(r"[\s\d.,;:()\[\]+\-eE]*\d[\s\d.,;:()\[\]+\-eE]*")
_BETWEEN_SIGNS = re.compile(r"[^\s,;:()\[\]]+")
_DEEPEST = 3
_LEADS_IN = frozenset(" \t\r\n,[，［")
_ENDS_OBJECT = frozenset("}]>)｝］）")


class Candidate(NamedTuple):
    """One box (`size` 4) or point (`size` 2) as the model wrote it.

    Attributes:
        key: How to name it in a reason, such as `bbox_2d`.
        value: What stood for its coordinates, of any type.
        size: Numbers it should have.
        label: Its name; empty when it has none.
        span: Its characters in the reply.
        evidence: Where its numbers, its name and its beginning stand.
        attributes: Other keys of its item, as text.
    """

    key: str
    value: Any
    size: int
    label: str
    span: Span
    evidence: EvidenceSpans
    attributes: Mapping[str, str] = {}

    def named(self, name: TreeNode | None) -> Candidate:
        """Return it with the name that stands beside it."""
        if name is None:
            return self
        return self._replace(label=name.value, evidence=replace(self.evidence, label=(name.span,)))


def clean_candidate(text: str, match: re.Match[str]) -> Candidate:
    """Read a match of `CLEAN_ITEM` in the reply `text`."""
    box = [int(match[1]), int(match[2]), int(match[3]), int(match[4])]
    numbers = (match.span(1), match.span(2), match.span(3), match.span(4))
    begin = (lead_start(text, match.start()), match.start(1))
    return Candidate(
        "bbox_2d", box, 4, as_text(match[5]), match.span(), EvidenceSpans(numbers, (match.span(5),), begin)
    )


def json_candidates(text: str, values: Values, span: Span) -> Iterator[Candidate]:
    """Read one JSON item; several boxes or points under one key become one candidate each."""
    label_key = next((key for key in LABEL_KEYS if key in values and values[key].value not in (None, "")), "")
    label = values.get(label_key, _NOTHING)
    located = {key: node for key, node in values.items() if key in COORDINATE_KEYS}
    spread: Sequence[str] = ()
    if not located:
        spread, numbers = spread_coordinates(values) or ((), [])
        located = {"box" if len(numbers) == 4 else "point": TreeNode(numbers, span)}
    attributes = {
        as_text(key): as_text(plain(node))
        for key, node in values.items()
        if key != label_key and key not in located and key not in spread and not _is_empty(node)
    }
    opened, content = lead_start(text, span[0]), leaf_spans(next(iter(values.values())))[0][0]
    for key, node in located.items():
        size = 4 if key in BOX_KEYS else 2
        places = _places(node, size)
        # As many names as boxes: one each.
        each = isinstance(label.value, list) and len(label.value) == len(places)
        for place, name in zip(places, label.value if each else [label] * len(places), strict=True):
            spans = leaf_spans(place)
            begin = (opened, max(opened, min(content, spans[0][0])))
            said = as_text(plain(name))
            evidence = EvidenceSpans(spans, leaf_spans(name) if said else (), begin)
            value = [part.value for part in place.value] if isinstance(place.value, list) else place.value
            yield Candidate(key, value, size, said, span, evidence, attributes)
            # Another one begins where the numbers of the one before end.
            opened, content = spans[-1][1], span[1]


def spread_coordinates(values: Values) -> tuple[tuple[str, ...], list[TreeNode]] | None:
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
    """Write a JSON value as text that any message can carry, one character for one: no lone surrogates, no controls."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in text)


def numbers_in(text: str, start: int) -> TreeNode | None:
    """Split `1, 2, 30, 40` or `(1, 2), (30, 40)`; None when it says anything else, too.

    Args:
        text: What stands at `start` of the reply.
        start: Its place.
    """
    if not _IN_BRACKETS.fullmatch(text):
        return None
    words = _BETWEEN_SIGNS.finditer(text)
    return TreeNode([TreeNode(m[0], (m.start() + start, m.end() + start)) for m in words], (start, start + len(text)))


def lead_start(text: str, start: int, *, by_line: bool = False) -> int:
    """Go back over what leads to an object: the comma after the one before, or the list's bracket.

    White space is part of it after another object, and line ends where objects stand `by_line`.
    """
    at = start
    while at > 0 and text[at - 1] in _LEADS_IN:
        at -= 1
    if (at > 0 and text[at - 1] in _ENDS_OBJECT) or (by_line and "\n" in text[at:start]):
        return at
    while at < start and text[at].isspace():
        at += 1
    return at


def leaf_spans(node: TreeNode) -> tuple[Span, ...]:
    """Return where the words, numbers and strings of a value stand; its own place where it has none."""
    value = node.value
    if not value or type(value) not in (list, dict):
        return (node.span,)
    parts: Iterable[TreeNode] = value if type(value) is list else value.values()
    spans: list[Span] = []
    for part in parts:
        if type(part.value) in (list, dict):
            spans += leaf_spans(part)
        else:
            spans.append(part.span)
    return tuple(spans)


def _places(node: TreeNode, size: int, depth: int = 0) -> list[TreeNode]:
    """Take the coordinates of several boxes or points apart."""
    value = node.value
    if isinstance(value, str):
        return [numbers_in(value, node.span[0]) or node]
    if isinstance(value, dict):
        placed = spread_coordinates(value)
        return [TreeNode(placed[1], node.span) if placed else node]
    if not isinstance(value, list) or depth == _DEEPEST:
        return [node]
    nested = all(part.value is None or isinstance(part.value, (list, dict)) for part in value)
    if not nested or not any(part.value for part in value):
        return [node]
    if size == 4 and len(value) == 2 and all(map(_is_corner, value)):
        return [TreeNode(value[0].value + value[1].value, node.span)]
    return [piece for part in value for piece in _places(part, size, depth + 1)]


def _is_corner(part: TreeNode) -> bool:
    value = part.value
    return isinstance(value, list) and len(value) == 2 and not any(isinstance(number.value, list) for number in value)


def _is_empty(node: TreeNode) -> bool:
    return plain(node) in (None, "", [], {}, [None])


def _sum(start: TreeNode, length: TreeNode) -> TreeNode:
    try:
        return TreeNode(float(start.value) + float(length.value), length.span)
    except (TypeError, ValueError, OverflowError):
        return length
