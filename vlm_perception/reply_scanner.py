"""Find the JSON objects in a reply, however broken the text around or inside them is.

The scanner walks the text once, with a stack of open braces, and judges every object when its
brace closes, on its own text without its children. So one bad item costs that item only, a reply
cut off in the middle keeps its complete items, and no nesting makes it slower than linear. Text
may be fed in chunks: an object is reported as soon as its closing brace is in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from vlm_perception.lenient_json import COORDINATE_KEYS, Values, json_string, load_object

_KEYS = "|".join(COORDINATE_KEYS)
_HAS_COORDINATE_KEY = re.compile(rf"""["'](?:{_KEYS})["']\s*:""")
_NEW_ITEM = re.compile(rf"""\{{\s*["'](?:{_KEYS})["']""")
_OUTSIDE_STRING = re.compile(r"""[{}"']""")
_IN_STRING = {quote: re.compile(rf"[{quote}\\\n{{]") for quote in "\"'"}
_NOT_SPACE = re.compile(r"\S")
_EMPTY: tuple[object, ...] = (None, "", [], {})
_UNLOCATED = "label without coordinates"

_LONGEST_KEY = max(map(len, COORDINATE_KEYS))

Kind = Literal["item", "broken", "wrapper"]


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of the reply that is JSON.

    Attributes:
        kind: `item` carries coordinates, `broken` should have and does not, `wrapper` only holds
            other objects.
        start: Index of its first character.
        end: Index one past its last character.
        values: Keys and values in order, without nested items; empty when broken.
        reason: Why it is broken.
    """

    kind: Kind
    start: int
    end: int
    values: Values = field(default_factory=dict)
    reason: str = ""


@dataclass(slots=True)
class _Open:
    """An object whose closing brace has not come yet; `parts` is its text without children."""

    start: int
    copied_to: int
    parts: list[str] = field(default_factory=list)
    first_child: int | None = None
    carries: bool = False
    unlocated: list[tuple[int, int]] = field(default_factory=list)


class ReplyScanner:
    """Reads a reply in one or more chunks and reports its JSON objects in closing order."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._stack: list[_Open] = []
        self._quote = ""
        self._quote_start = 0
        self._ended = False
        self._found: list[Found] = []

    def feed(self, chunk: str) -> list[Found]:
        """Take more of the reply and return what became complete with it."""
        self._text += chunk
        while self._step():
            pass
        return self._take()

    def finish(self) -> list[Found]:
        """End the reply and return what it left open."""
        self._ended = True
        found = self.feed("")
        for level in self._stack:
            self._leave_open(level)
        self._stack.clear()
        return found + self._take()

    def _take(self) -> list[Found]:
        found, self._found = self._found, []
        return found

    def _step(self) -> bool:
        """Handle the next character that matters; False when the text so far is used up."""
        if self._quote:
            return self._step_in_string()
        if not self._stack:
            at = self._text.find("{", self._at)
            if at < 0:
                self._at = len(self._text)
                return False
            self._open(at)
            return True
        match = _OUTSIDE_STRING.search(self._text, self._at)
        if match is None:
            self._at = len(self._text)
            return False
        at, character = match.start(), match.group()
        if character == "{":
            self._open(at)
        elif character == "}":
            self._close(at + 1)
        else:
            self._at = at + 1
            if self._opens_string(at):
                self._copy_to(at)
                self._quote, self._quote_start = character, at
        return True

    def _step_in_string(self) -> bool:
        match = _IN_STRING[self._quote].search(self._text, self._at)
        if match is None:
            self._at = len(self._text)
            return False
        at, character = match.start(), match.group()
        if character == "\\":
            if at + 1 >= len(self._text):
                self._at = at
                return False
            self._at = at + 2
            return True
        follower = _NOT_SPACE.search(self._text, at + 1)
        ahead = len(self._text) - (follower.start() if follower else len(self._text))
        needed = _LONGEST_KEY + 2 if character == "{" else 1
        if ahead < needed and not self._ended and character != "\n":
            self._at = at
            return False
        self._at = at + 1
        if character == "\n":
            # JSON strings hold no line ends: the closing quote was lost.
            self._quote = ""
        elif character == "{":
            if _NEW_ITEM.match(self._text, at):
                self._abandon(at)
        # An inner quote that nobody escaped is followed by more words, not by structure.
        elif follower is None or follower.group() in ",:]}":
            self._end_string(at + 1)
        return True

    def _opens_string(self, at: int) -> bool:
        before = at - 1
        while self._text[before].isspace():
            before -= 1
        return self._text[before] in "{[,:"

    def _end_string(self, end: int) -> None:
        body = self._text[self._quote_start + 1 : end - 1]
        level = self._stack[-1]
        level.parts.append(json_string(body, self._quote))
        level.copied_to, self._quote = end, ""

    def _copy_to(self, end: int) -> None:
        level = self._stack[-1]
        level.parts.append(self._text[level.copied_to : end])
        level.copied_to = end

    def _open(self, at: int) -> None:
        if self._stack:
            self._copy_to(at)
            if self._stack[-1].first_child is None:
                self._stack[-1].first_child = at
        self._stack.append(_Open(start=at, copied_to=at))
        self._at = at + 1

    def _abandon(self, at: int) -> None:
        """Give up an object whose string never closed, because the next one begins here."""
        level = self._stack.pop()
        self._quote = ""
        self._report("broken", level.start, at, reason="string without closing quote")
        self._hand_to_parent("null", at)
        self._open(at)

    def _hand_to_parent(self, value: str, end: int) -> None:
        if self._stack:
            self._stack[-1].parts.append(value)
            self._stack[-1].copied_to = end

    def _close(self, end: int) -> None:
        self._copy_to(end)
        self._at = end
        level = self._stack.pop()
        own, value = "".join(level.parts), "null"
        values, reason = load_object(own)
        if reason:
            if _HAS_COORDINATE_KEY.search(own):
                self._report("broken", level.start, end, reason=reason)
        elif not values.keys().isdisjoint(COORDINATE_KEYS):
            self._report("item", level.start, end, values)
        elif level.carries or level.unlocated or all(v in _EMPTY for v in values.values()):
            for start, stop in level.unlocated:
                self._report("broken", start, stop, reason=_UNLOCATED)
            self._report("wrapper", level.start, end, values)
        elif level.first_child is None and self._stack:
            # A leaf may be an attribute of its parent: hand it up as the value it is.
            value = own
            if "label" in values:
                self._stack[-1].unlocated.append((level.start, end))
        elif "label" in values:
            self._report("broken", level.start, end, reason=_UNLOCATED)
        self._hand_to_parent(value, end)

    def _report(self, kind: Kind, start: int, end: int, values: Values | None = None, reason: str = "") -> None:
        self._found.append(Found(kind, start, end, values or {}, reason))
        if self._stack:
            self._stack[-1].carries = True

    def _leave_open(self, level: _Open) -> None:
        for start, stop in level.unlocated:
            self._report("broken", start, stop, reason=_UNLOCATED)
        end = level.first_child
        if end is None:
            fence = self._text.find("```", level.start)
            end = len(self._text) if fence < 0 else fence
        inside = self._text[level.start + 1 : end].lstrip()
        if _HAS_COORDINATE_KEY.search(inside) or (level.first_child is None and inside[:1] == '"'):
            reason = "cut off" if level.first_child is None else "no closing brace"
            self._report("broken", level.start, end, reason=reason)
        elif inside[:1] in ('"', "'", ""):
            self._report("wrapper", level.start, end)
