"""A reply as a form with slots: what stands around its numbers and words, whatever format it is written in.

An item is one `{...}` without braces inside, or one line with a pair of coordinates. Its slots are
the coordinates and the JSON strings; all else is fixed text. So a reply can be written again, to
the letter, with other numbers in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

SlotValue = int | str | None
SlotKind = Literal["number", "words"]

_LINE = r'^[^\n{}]*(?:\d[ \t]*,[ \t]*\d|\bx\d*="\d+)[^\n{}]*'
_ITEM = re.compile(rf"\{{[^{{}}]*\}}|{_LINE}$", re.MULTILINE)
_CLOSED_ITEM = re.compile(rf"\{{[^{{}}]*\}}|{_LINE}(?=\n)", re.MULTILINE)
# Longer runs of digits are no coordinates, and slow to turn into numbers.
_SLOT = re.compile(r'(?:[\[(,]\s*|="|^[ \t]*)(?P<number>\d{1,9})(?![\w.])|:\s*"(?P<words>[^"\n]*)', re.MULTILINE)
_TRAILING_SPACE = re.compile(r"\s*\Z")


@dataclass(frozen=True, slots=True)
class ReplyItem:
    """One object of a reply.

    Attributes:
        texts: Fixed texts before, between and behind the slots.
        kinds: What each slot takes.
        slots: What each slot holds; None is not known.
    """

    texts: tuple[str, ...]
    kinds: tuple[SlotKind, ...]
    slots: tuple[SlotValue, ...]

    def emptied(self) -> ReplyItem:
        """The same item with nothing known in it."""
        return replace(self, slots=(None,) * len(self.slots))

    def numbers(self) -> list[int]:
        """All coordinates, x and y in turn."""
        return [slot for slot in self.slots if isinstance(slot, int)]

    def words(self) -> list[str]:
        """All strings."""
        return [slot for slot in self.slots if isinstance(slot, str)]


@dataclass(frozen=True, slots=True)
class ReplyTemplate:
    """A whole reply; one without items is all `head`.

    Attributes:
        head: Text before the first item.
        items: Objects in the order of the reply.
        gap: Text between two items.
        tail: Text behind the last item; None is not known.
    """

    head: str
    items: tuple[ReplyItem, ...] = ()
    gap: str = ""
    tail: str | None = ""


def read_item(text: str) -> ReplyItem:
    """Take one item apart."""
    texts: list[str] = []
    kinds: list[SlotKind] = []
    slots: list[SlotValue] = []
    at = 0
    for match in _SLOT.finditer(text):
        kind: SlotKind = "number" if match["number"] is not None else "words"
        start, end = match.span(kind)
        texts.append(text[at:start])
        kinds.append(kind)
        slots.append(int(match[kind]) if kind == "number" else match[kind])
        at = end
    return ReplyItem((*texts, text[at:]), tuple(kinds), tuple(slots))


def read_template(text: str) -> ReplyTemplate:
    """Take a finished reply apart."""
    found = list(_ITEM.finditer(text))
    if not found:
        return ReplyTemplate(text)
    head = text[: found[0].start()]
    gap = text[found[0].end() : found[1].start()] if len(found) > 1 else gap_after(head)
    return ReplyTemplate(head, tuple(read_item(match[0]) for match in found), gap, text[found[-1].end() :])


def gap_after(head: str) -> str:
    """Guess what stands between items from what stands before the first: a list's items are laid out alike."""
    space = _TRAILING_SPACE.search(head)
    return ("," if "[" in head else "") + (space[0] if space else "")


def next_closed_item(text: str, start: int) -> tuple[int, int] | None:
    """Find the next item that is certainly over in a reply that goes on; its character range."""
    found = _CLOSED_ITEM.search(text, start)
    return found.span() if found else None


def open_item_start(text: str, start: int) -> int:
    """Tell where an item that is not over would begin: at the last open brace, or else at the last line."""
    brace = text.rfind("{", start)
    if brace >= 0 and text.find("}", brace) < 0:
        return brace
    return max(start, text.rfind("\n", start) + 1)


def unknown_box(key: str, numbers: int) -> ReplyItem:
    """Return the item of Qwen's JSON forms, nothing in it known."""
    texts = ('{"' + key + '": [', *[", "] * (numbers - 1), '], "label": "', '"}')
    kinds: Sequence[SlotKind] = [*["number"] * numbers, "words"]  # type: ignore[list-item]
    return ReplyItem(texts, tuple(kinds), (None,) * (numbers + 1))


# What Qwen2.5-VL was trained to write (its spatial-understanding cookbook), with a tab or with spaces.
TRAINED_TEMPLATES = (
    *(
        ReplyTemplate(f"```json\n[\n{indent}", (unknown_box(key, numbers),), f",\n{indent}", "\n]\n```")
        for indent in ("\t", "    ")
        for key, numbers in (("bbox_2d", 4), ("point_2d", 2))
    ),
    ReplyTemplate("```json\n[]\n```"),
)
