"""What a reply states of one thing, before it is validated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from vlm_perception.replies.lenient_json import TreeNode
from vlm_perception.types import EvidenceSpans, Span

# The form the model was trained for, read in one go where all of it is there; nothing but speed.
CLEAN_ITEM = re.compile(
    r'\{\s*"bbox_2d"\s*:\s*\[\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})'
    r'\s*\]\s*,\s*"label"\s*:\s*"([^"\\{｛}\n]+)"\s*\}'
)
_LEADS_IN = frozenset(" \t\r\n,[，［")
_ENDS_OBJECT = frozenset("}]>)｝］）")


class Candidate(NamedTuple):
    """One thing as the model wrote it.

    Attributes:
        key: How to name it in a reason, such as `bbox_2d`.
        value: What stood for its coordinates, of any type.
        size: Numbers it should have, see `WrittenPlace`.
        label: Its name; empty when it has none.
        span: Its characters in the reply.
        evidence: Where its numbers, its name and its beginning stand.
        attributes: Other keys of its item, as text.
        point: Key and numbers of a point of it, beside its box.
        polygon: Key and numbers of its outline, beside its box.
        keypoints: Numbers of points of it by their names.
        grid: Its numbers are on a grid of 0 to this over the whole image; 0 for the frame of the reply.
        second: Whether it is one more box of a thing that has one.
        text: What is written there, for a block of a document.
        kind: What kind of block it is.
    """

    key: str
    value: Any
    size: int
    label: str
    span: Span
    evidence: EvidenceSpans
    attributes: Mapping[str, str] = {}
    point: tuple[str, Any] | None = None
    polygon: tuple[str, Any] | None = None
    keypoints: Mapping[str, Any] = {}
    grid: int = 0
    second: bool = False
    text: str = ""
    kind: str = ""

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


def as_text(value: Any) -> str:
    """Write a JSON value as text that any message can carry, one character for one: no lone surrogates, no controls."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in text)


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
