"""Find the JSON objects in a reply, however broken the text around or inside them is.

The scanner walks the text once, with a stack of open braces, and judges every object when its
brace closes, on its own text without its children. So one bad item costs that item only, a reply
cut off in the middle keeps its complete items, and no nesting makes it slower than linear. Text
may be fed in chunks: an object is reported as soon as its closing brace is in.
"""

from __future__ import annotations

import re

from vlm_perception.replies.json_objects import Found, Level, judge_closed, judge_open
from vlm_perception.replies.lenient_json import COORDINATE_KEYS, FULL_WIDTH, json_string
from vlm_perception.replies.quotes import IN_STRING, QUOTES, ends_string

__all__ = ["Found", "ReplyScanner"]

_KEYS = "|".join(COORDINATE_KEYS)
_NEW_ITEM = re.compile(rf"[{{｛]\s{{0,32}}[{QUOTES}](?:{_KEYS})[{QUOTES}]")
_NEW_ITEM_LENGTH = 35 + max(map(len, COORDINATE_KEYS))
# The form the model was trained for, read in one go where all of it is there; nothing but speed.
_CLEAN_ITEM = re.compile(
    r'\{\s*"bbox_2d"\s*:\s*\[\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})\s*,\s*(-?[0-9]{1,14})'
    r'\s*\]\s*,\s*"label"\s*:\s*"([^"\\{｛}\n]*)"\s*\}'
)
_BRACE = re.compile("[{｛]")
_BRACES = re.compile(r"(?:[{｛]\s*)*(?=[{｛])")
_OUTSIDE_STRING = re.compile(rf"[{{}}｛｝{QUOTES}#/]")
# Every form outside of JSON has one of these.
_OF_TEXT_FORM = re.compile(r"[\d<＜]")
_NOT_SPACE = re.compile(r"\S")


class ReplyScanner:
    """Reads a reply in one or more chunks and reports its pieces in the order they end."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._stack: list[Level] = []
        self._quote = ""
        self._quote_start = 0
        self._comment_end = ""
        self._spaces = (0, 0)
        self._ended = False
        self._text_from = 0
        self._taken: list[tuple[int, int]] = []
        self._found: list[Found] = []

    @property
    def text(self) -> str:
        """The reply so far."""
        return self._text

    @property
    def tail(self) -> tuple[int, int] | None:
        """Range of the text after the last object, which may go on; None inside an object."""
        return None if self._stack else (self._text_from, self._at)

    def feed(self, chunk: str) -> list[Found]:
        """Take more of the reply and return what became complete with it."""
        # Python appends to a string in place, in constant time, only while nothing else holds it.
        text, self._text = self._text, ""
        text += chunk
        self._text = text
        del text
        while self._step():
            pass
        return self._take()

    def finish(self) -> list[Found]:
        """End the reply and return what it left open."""
        self._ended = True
        found = self.feed("")
        for level in self._stack:
            for piece in judge_open(level, self._text):
                self._found.append(piece)
                self._taken.append((piece.start, piece.end))
        start = self._stack[0].start if self._stack else self._text_from
        self._stack.clear()
        self._report_text(start, len(self._text))
        return found + self._take()

    def _take(self) -> list[Found]:
        found, self._found = self._found, []
        return found

    def _step(self) -> bool:
        """Handle the next character that matters; False when the text so far is used up."""
        if self._quote:
            return self._step_in_string()
        if self._comment_end:
            return self._step_in_comment()
        match = (_OUTSIDE_STRING if self._stack else _BRACE).search(self._text, self._at)
        if match is None:
            self._at = len(self._text)
            return False
        at, character = match.start(), match.group()
        self._at = at + 1
        if character in "{｛":
            self._open(at)
        elif character in "}｝":
            self._close(at + 1)
        elif character in "#/":
            return self._begin_comment(at, character)
        elif not self._text[at - 1].isalnum():
            self._copy_to(at)
            self._quote, self._quote_start = character, at
        return True

    def _step_in_string(self) -> bool:
        match = IN_STRING[self._quote].search(self._text, self._at)
        if match is None:
            self._at = len(self._text)
            return False
        at, character = match.start(), match.group()
        self._at = at
        if character == "\n":
            # JSON strings hold no line ends: the closing quote was lost.
            self._quote = ""
            return True
        if character == "\\":
            return self._pass(at + 2)
        if character in "{｛":
            if len(self._text) - at < _NEW_ITEM_LENGTH and not self._ended:
                return False
            if not _NEW_ITEM.match(self._text, at):
                return self._pass(at + 1)
            self._abandon(at)
            return True
        ends = ends_string(self._text, self._next_solid(at + 1), self._ended)
        if ends:
            self._end_string(at + 1)
        return ends is not None and self._pass(at + 1)

    def _pass(self, end: int) -> bool:
        """Go on at `end`, or wait until the text reaches that far."""
        if end > len(self._text):
            return False
        self._at = end
        return True

    def _next_solid(self, at: int) -> int:
        """Find the next character that is no space, without reading any space twice."""
        match = _NOT_SPACE.search(self._text, self._spaces[1] if self._spaces[0] == at else at)
        self._spaces = (at, match.start() if match else len(self._text))
        return self._spaces[1]

    def _begin_comment(self, at: int, sign: str) -> bool:
        following = self._text[at + 1 : at + 2]
        if sign == "/" and not following and not self._ended:
            self._at = at
            return False
        before = self._text[at - 1]
        # Not in `https://`, nor in a word such as `C#`.
        if (sign == "#" and not before.isalnum()) or (sign == "/" and following == "/" and before != ":"):
            self._comment_end = "\n"
        elif sign == "/" and following == "*":
            self._comment_end = "*/"
        if self._comment_end:
            self._copy_to(at)
            self._at = at + len(self._comment_end)
        return True

    def _step_in_comment(self) -> bool:
        end = self._text.find(self._comment_end, self._at)
        if end < 0:
            self._at = max(self._at, len(self._text) + 1 - len(self._comment_end))
            return False
        self._at = end + len(self._comment_end)
        self._stack[-1].copied_to = self._at
        self._comment_end = ""
        return True

    def _end_string(self, end: int) -> None:
        body = self._text[self._quote_start + 1 : end - 1]
        level = self._stack[-1]
        level.parts.append(json_string(body, self._quote))
        level.copied_to, self._quote = end, ""

    def _copy_to(self, end: int) -> None:
        level = self._stack[-1]
        part = self._text[level.copied_to : end]
        level.parts.append(part if part.isascii() else part.translate(FULL_WIDTH))
        level.copied_to = end

    def _open(self, at: int) -> None:
        # No object begins with an object: of several braces in a row, the last one opens.
        run = _BRACES.match(self._text, at)
        last = run.end() if run else at
        if self._stack and self._stack[-1].is_bare(self._text, at):
            self._stack.pop()
        elif self._stack:
            self._copy_to(at)
        if self._stack:
            self._stack[-1].begin_child(at, last)
        else:
            self._report_text(self._text_from, at)
        if not self._read_at_once(last):
            self._stack.append(Level(last, last, len(self._taken)))
            self._at = last + 1

    def _read_at_once(self, at: int) -> bool:
        """Read the two most frequent objects without a level of their own, for speed only."""
        clean = _CLEAN_ITEM.match(self._text, at)
        if clean is not None:
            box = [int(clean[1]), int(clean[2]), int(clean[3]), int(clean[4])]
            piece = Found("item", at, clean.end(), {"bbox_2d": box, "label": clean[5]})
        elif self._text.startswith("{}", at):
            piece = Found("wrapper", at, at + 2)
        else:
            return False
        self._at = piece.end
        self._report(piece, len(self._taken))
        self._hand_to_parent("null", piece.end)
        return True

    def _abandon(self, at: int) -> None:
        """Give up an object whose string never closed, because the next one begins here."""
        level = self._stack.pop()
        self._quote = ""
        self._report(Found("broken", level.start, at, {}, "string without closing quote"), level.taken_before)
        self._hand_to_parent("null", at)
        self._open(at)

    def _close(self, end: int) -> None:
        self._copy_to(end)
        level = self._stack.pop()
        found, leaves, value = judge_closed(level, end, bool(self._stack))
        for piece in found:
            self._report(piece, level.taken_before)
        if self._stack:
            self._stack[-1].leaves += leaves
        self._hand_to_parent(value, end)

    def _hand_to_parent(self, value: str, end: int) -> None:
        if self._stack:
            self._stack[-1].parts.append(value)
            self._stack[-1].copied_to = end
        else:
            self._report_text(self._text_from, end)

    def _report(self, piece: Found, taken_before: int) -> None:
        """Report an object and forget what was found inside it."""
        self._found.append(piece)
        del self._taken[taken_before:]
        self._taken.append((piece.start, piece.end))
        if self._stack:
            self._stack[-1].carries = True

    def _report_text(self, start: int, end: int) -> None:
        """Report what may hold objects between the pieces found since `start`, and go on at `end`."""
        if self._taken != [(start, end)]:
            for taken_start, taken_end in [*sorted(self._taken), (end, end)]:
                if start < taken_start and _OF_TEXT_FORM.search(self._text, start, taken_start):
                    self._found.append(Found("text", start, taken_start))
                start = max(start, taken_end)
        self._taken.clear()
        self._text_from = end
