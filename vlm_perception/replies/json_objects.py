"""What an object of a reply is, judged once its text is known: item, wrapper, attribute or broken."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vlm_perception.replies.candidates import LABEL_KEYS, coordinates_of
from vlm_perception.replies.lenient_json import COORDINATE_KEYS, Values, load_object
from vlm_perception.replies.quotes import QUOTES

_KEYS = "|".join(COORDINATE_KEYS)
_HAS_COORDINATE_KEY = re.compile(
    rf"""(?:[{QUOTES}](?:{_KEYS})[{QUOTES}]|(?:\A|[{{｛,，]\s{{0,64}})(?:{_KEYS}))\s{{0,64}}[:：]"""
)
_EMPTY: tuple[object, ...] = (None, "", [], {})
_UNLOCATED = "label without coordinates"

Kind = Literal["item", "broken", "wrapper", "text"]


class Found(NamedTuple):
    """One piece of the reply.

    Attributes:
        kind: `item` carries coordinates, `broken` should have and does not, `wrapper` only holds
            other objects, `text` is what lies between those.
        start: Index of its first character.
        end: Index one past its last character.
        values: Keys and values in order, without nested items; empty when broken.
        reason: Why it is broken.
    """

    kind: Kind
    start: int
    end: int
    values: Values = {}  # noqa: RUF012 (nobody writes to it)
    reason: str = ""


@dataclass(slots=True)
class Level:
    """An object whose closing brace has not come yet.

    Attributes:
        start: Index of its brace.
        copied_to: Index up to which its text is in `parts`.
        taken_before: How many pieces were found in its outermost object before it began.
        parts: Its text without its children, as strict as its signs allow.
        first_child: Index of the first brace inside it.
        carries: Whether something inside it was found.
        leaves: What its innermost objects are, unless they turn out to be its attributes.
    """

    start: int
    copied_to: int
    taken_before: int
    parts: list[str] = field(default_factory=list)
    first_child: int | None = None
    carries: bool = False
    leaves: list[Found] = field(default_factory=list)

    def is_bare(self, text: str, end: int) -> bool:
        """Tell whether nothing but spaces stands between its brace and `end`."""
        return self.first_child is None and not text[self.start + 1 : end].strip()

    def begin_child(self, brace: int, start: int) -> None:
        """Leave out its text from here on; the child's first brace may not be the one it opens with."""
        if self.first_child is None:
            self.first_child = brace
        self.copied_to = start


def judge_closed(level: Level, end: int, nested: bool) -> tuple[list[Found], list[Found], str]:
    """Judge an object whose brace has closed.

    Args:
        level: The object, its text complete.
        end: Index one past its closing brace.
        nested: Whether it lies inside another object.

    Returns:
        What was found, the object itself last; what was found unless the object around it takes
        it as an attribute; and the value to hand to that object.
    """
    own = "".join(level.parts)
    values, reason = load_object(own)
    this = Found("item", level.start, end, values)
    if reason:
        return [Found("broken", level.start, end, {}, reason)] if has_coordinate_key(own) else [], [], "null"
    if _is_item(values, level.carries):
        return [this], [], "null"
    labelled = any(values.get(key) not in (None, "") for key in LABEL_KEYS)
    placed = coordinates_of(values) is not None
    if placed and (labelled or not nested):
        return [this], [], "null"
    if level.carries or level.leaves or all(value in _EMPTY for value in values.values()):
        return [*level.leaves, Found("wrapper", level.start, end, values)], [], "null"
    leaves = [Found("broken", level.start, end, {}, _UNLOCATED)] if "label" in values else []
    if nested and level.first_child is None:
        return [], [this] if placed else leaves, own
    return leaves, [], "null"


def judge_open(level: Level, text: str) -> list[Found]:
    """Judge an object that the end of the reply left open."""
    end = level.first_child
    if end is None:
        fence = text.find("```", level.start)
        end = len(text) if fence < 0 else fence
    inside = text[level.start + 1 : end].lstrip()
    if has_coordinate_key(inside) or (level.first_child is None and inside[:1] in ('"', "“", "＂")):
        reason = "cut off" if level.first_child is None else "no closing brace"
        return [*level.leaves, Found("broken", level.start, end, {}, reason)]
    if not inside or inside[0] in QUOTES:
        return [*level.leaves, Found("wrapper", level.start, end)]
    return level.leaves


def has_coordinate_key(text: str) -> bool:
    """Tell whether a piece of JSON names coordinates, however broken it is."""
    return _HAS_COORDINATE_KEY.search(text) is not None


def _is_item(values: Values, carries: bool) -> bool:
    # A list under such a key may hold whole objects, which were found on their own already.
    return any(
        not (carries and isinstance(value, list) and value and all(part is None for part in value))
        for key, value in values.items()
        if key in COORDINATE_KEYS
    )
