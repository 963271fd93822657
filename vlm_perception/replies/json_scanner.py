"""Find the JSON objects in a reply, however broken the text around or inside them is.

The scanner walks the text once, with a stack of open braces, and tells what every object is
when its brace closes, from its own text without its children: item, wrapper, attribute or broken. So
one bad item costs that item only, a reply cut off in the middle keeps its complete items, and no nesting
makes it slower than linear. Text may be fed in chunks: an object is reported as soon as its closing
brace is in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vlm_perception.replies.candidates import CLEAN_ITEM, Candidate, clean_candidate
from vlm_perception.replies.items import Item, key_around, understand
from vlm_perception.replies.keys import ANY_COORDINATE_KEY, ANY_NAME_KEY, LONGEST_KEY, kind_of
from vlm_perception.replies.lenient_json import (
    IN_STRING,
    QUOTES,
    Group,
    TreeNode,
    Values,
    ends_string,
    read_object,
    read_string,
)
from vlm_perception.types import Span

_NEW_ITEM = re.compile(rf"[{{｛]\s{{0,32}}[{QUOTES}](?:{ANY_COORDINATE_KEY}|{ANY_NAME_KEY})[{QUOTES}]")
_NEW_ITEM_LENGTH = 35 + LONGEST_KEY
_COORDINATE_KEY = re.compile(
    rf"""(?:[{QUOTES}]{ANY_COORDINATE_KEY}[{QUOTES}]|(?:\A|[{{｛,，]\s{{0,64}}){ANY_COORDINATE_KEY})\s{{0,64}}[:：]"""
)
# What stands between a key and the first object under it, between two objects under it, and such a key without quotes.
_BEHIND_KEY = re.compile(r"\s*[:：][\s\[(［]*\Z")
_BETWEEN_OBJECTS = re.compile(r"[\s,，\[(［]*\Z")
_BARE_KEY = re.compile(r"(\w+)\s*[:：][\s\[(［]*\Z")
_BRACE = re.compile("[{｛]")
_BRACES = re.compile(r"(?:[{｛]\s*)*(?=[{｛])")
_OUTSIDE_STRING = re.compile(rf"[{{}}｛｝{QUOTES}#/]")
# Every form outside of JSON has one of these.
_OF_TEXT_FORM = re.compile(r"[\d<＜]")
_NOT_SPACE = re.compile(r"\S")
_EMPTY: tuple[object, ...] = (None, "", [], {})


class Segment(NamedTuple):
    """One piece of the reply.

    Attributes:
        kind: `item` carries coordinates, `broken` should have and does not, `wrapper` only holds
            other objects, `text` is what lies between those.
        span: Its characters.
        values: What a wrapper holds, in order, None for nested items.
        reason: Why it is broken.
        candidate: What an item states, where it was read as a whole.
        item: What any other item holds.
        around: The dictionary key that names what it holds.
    """

    kind: Literal["item", "broken", "wrapper", "text"]
    span: Span
    values: Values = {}  # noqa: RUF012 (nobody writes to it)
    reason: str = ""
    candidate: Candidate | None = None
    item: Item | None = None
    around: TreeNode | None = None


@dataclass(slots=True)
class OpenObject:
    """An object whose closing brace has not come yet.

    Attributes:
        start: Index of its brace.
        taken_before: How many pieces were found in its outermost object before it began.
        holes: Its strings, comments and children so far, see `read_object`.
        first_child: Index of the first brace inside it.
        carries: Whether something inside it was found.
        leaves: What its innermost objects are, unless they turn out to be its attributes.
        key: The key under which it stands in the object around it.
        around: The dictionary key that names what it holds.
        is_part: Whether it lies in the keypoints or the 3D box of an object around it.
    """

    start: int
    taken_before: int
    key: TreeNode | None = None
    around: TreeNode | None = None
    is_part: bool = False
    holes: list[tuple[Span, TreeNode | None]] = field(default_factory=list)
    first_child: int | None = None
    carries: bool = False
    leaves: list[Segment] = field(default_factory=list)
    # Where the last object under a key ended, and that key.
    _last_key: TreeNode | None = None

    def key_at(self, text: str, at: int) -> TreeNode | None:
        """Return the key under which an object that begins at `at` stands."""
        hole, node = self.holes[-1] if self.holes else ((self.start, self.start + 1), None)
        between = text[hole[1] : at]
        bare = _BARE_KEY.search(between)
        if bare:
            start = hole[1] + bare.start(1)
            self._last_key = TreeNode(bare[1], (start, start + len(bare[1])))
        elif node is not None and isinstance(node.value, str) and _BEHIND_KEY.match(between):
            self._last_key = node
        elif not _BETWEEN_OBJECTS.match(between):
            self._last_key = None
        return self._last_key

    def is_bare(self, text: str, end: int) -> bool:
        """Tell whether nothing but spaces stands between its brace and `end`."""
        return self.first_child is None and not text[self.start + 1 : end].strip()

    def close(self, text: str, end: int, nested: bool) -> tuple[list[Segment], list[Segment], Values | None]:
        """Tell what an object is whose brace has closed.

        Args:
            text: The reply so far.
            end: Index one past its closing brace.
            nested: Whether it lies inside another object.

        Returns:
            What was found, the object itself last; what was found unless the object around it takes
            it as an attribute; and the value to hand to that object.
        """
        span = (self.start, end)
        groups, reason = read_object(text, (self.start + 1, end - 1), self.holes)
        if reason:
            broken = _COORDINATE_KEY.search(self._own_text(text, end)) is not None
            return [Segment("broken", span, {}, reason)] if broken else [], [], None
        values = {key: node for group in groups for key, node in group.values.items()}
        if self.is_part and values:
            return [], [], values
        if len(groups) > 1:
            several = self._several(text, groups, end)
            if several:
                return several, [], None
        item = understand(values, carries=self.carries, inside=str(self.key.value) if self.key else "")
        this = Segment("item", span, item=item, around=self.around)
        empty = all(node.value in _EMPTY for node in values.values())
        of_place = self.key is not None and kind_of(self.key.value) not in ("other", "name")
        if of_place and not (empty or item.name_key or self.carries):
            # A part of what the object around it says of its place.
            return [], [this] if item.located else [], values
        if item.certain or (item.located and not nested):
            return [this], [], None
        if item.problem and item.name_key and not self.carries and all(leaf.kind == "broken" for leaf in self.leaves):
            whole = [Segment("broken", span, {}, item.problem)]
            return ([], whole, values) if nested and self.first_child is None else (whole, [], None)
        if self.carries or self.leaves or empty:
            named = item.name if item.name_key else self.around
            leaves = [leaf._replace(around=leaf.around or named) for leaf in self.leaves]
            return [*leaves, Segment("wrapper", span, values)], [], None
        leaves = [Segment("broken", span, {}, item.problem)] if item.problem else []
        if nested and self.first_child is None:
            return [], [this] if item.located else leaves, values
        return leaves, [], None

    def _several(self, text: str, groups: list[Group], end: int) -> list[Segment]:
        """Take an object apart in which a key that came again begins the next thing; empty when it is one thing."""
        items = [understand(group.values, carries=self.carries) for group in groups]
        located = [item for item in items if item.certain]
        if len(located) < 2:
            return []
        if not located[0].name_key and any(item.name_key for item in located):
            key = next(iter(located[0].located), "a key")
            return [Segment("broken", (self.start, end), {}, f"{key} appears twice")]
        starts = [self.start, *(group.start for group in groups[1:])]
        ends = [len(text[:start].rstrip(" \t\r\n,，")) for start in starts[1:]]
        spans = zip(starts, [*ends, end], strict=True)
        return [
            Segment("item", span, item=item, around=self.around)
            for span, item in zip(spans, items, strict=True)
            if item.certain
        ]

    def cut_off(self, text: str) -> list[Segment]:
        """Tell what an object is that the end of the reply left open."""
        end = self.first_child
        if end is None:
            fence = text.find("```", self.start)
            end = len(text) if fence < 0 else fence
        inside = text[self.start + 1 : end].lstrip()
        in_key = self.first_child is None and inside[:1] in ('"', "“", "＂")
        if in_key or _COORDINATE_KEY.search(inside):
            reason = "cut off" if self.first_child is None else "no closing brace"
            return [*self.leaves, Segment("broken", (self.start, end), {}, reason)]
        if not inside or inside[0] in QUOTES:
            return [*self.leaves, Segment("wrapper", (self.start, end))]
        return self.leaves

    def _own_text(self, text: str, end: int) -> str:
        children = [hole for hole, _ in self.holes if text[hole[0]] in "{｛"]
        starts, ends = [start for start, _ in children], [stop for _, stop in children]
        return "".join(text[a:b] for a, b in zip([self.start, *ends], [*starts, end], strict=True))


class JsonScanner:
    """Reads a reply in one or more chunks and reports its pieces in the order they end."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._stack: list[OpenObject] = []
        self._quote = ""
        self._comment_end = ""
        # Where the string or comment that is open began.
        self._hole_start = 0
        self._spaces = (0, 0)
        self._ended = False
        self._text_from = 0
        self._taken: list[Span] = []
        self._found: list[Segment] = []

    @property
    def text(self) -> str:
        """The reply so far."""
        return self._text

    @property
    def tail(self) -> Span | None:
        """Range of the text after the last object, which may go on; None inside an object."""
        return None if self._stack else (self._text_from, self._at)

    def feed(self, chunk: str) -> list[Segment]:
        """Take more of the reply and return what became complete with it."""
        # Python appends to a string in place, in constant time, only while nothing else holds it.
        text, self._text = self._text, ""
        text += chunk
        self._text = text
        del text
        while self._step():
            pass
        return self._take()

    def finish(self) -> list[Segment]:
        """End the reply, or a part of it, and return what it left open."""
        self._ended = True
        found = self.feed("")
        for opened in self._stack:
            for segment in opened.cut_off(self._text):
                self._found.append(segment)
                self._taken.append(segment.span)
        start = self._stack[0].start if self._stack else self._text_from
        self._stack.clear()
        self._report_text(start, len(self._text))
        found += self._take()
        self._quote = self._comment_end = ""
        self._ended = False
        return found

    def skip(self, length: int) -> None:
        """Pass over characters that are no part of the answer; the part before them was finished.

        What follows begins a line, and no object's evidence reaches back over them.
        """
        self.feed("\0" * (length - 1) + "\n")
        self._at = self._text_from = len(self._text)

    def _take(self) -> list[Segment]:
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
            self._quote, self._hole_start = character, at
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
            body = (self._hole_start + 1, at)
            self._add_hole(at + 1, TreeNode(read_string(self._text[slice(*body)]), body))
            self._quote = ""
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
            self._hole_start = at
            self._at = at + len(self._comment_end)
        return True

    def _step_in_comment(self) -> bool:
        end = self._text.find(self._comment_end, self._at)
        if end < 0:
            self._at = max(self._at, len(self._text) + 1 - len(self._comment_end))
            return False
        self._at = end + len(self._comment_end)
        self._add_hole(self._at, None)
        self._comment_end = ""
        return True

    def _add_hole(self, end: int, node: TreeNode | None) -> None:
        self._stack[-1].holes.append(((self._hole_start, end), node))

    def _open(self, at: int) -> None:
        # No object begins with an object: of several braces in a row, the last one opens.
        run = _BRACES.match(self._text, at)
        last = run.end() if run else at
        if self._stack and self._stack[-1].is_bare(self._text, at):
            self._stack.pop()
        if not self._stack:
            self._report_text(self._text_from, at)
        elif self._stack[-1].first_child is None:
            # It may be another one than the child begins with.
            self._stack[-1].first_child = at
        if not self._read_at_once(last):
            self._stack.append(self._opened(last))
            self._at = last + 1

    def _opened(self, at: int) -> OpenObject:
        if not self._stack:
            return OpenObject(at, len(self._taken))
        parent = self._stack[-1]
        key = parent.key_at(self._text, at)
        is_part = parent.is_part or (key is not None and kind_of(key.value) in ("keypoints", "solid"))
        return OpenObject(at, len(self._taken), key, key_around(key, parent.around), is_part)

    def _read_at_once(self, at: int) -> bool:
        """Read the two most frequent objects without opening them, for speed only."""
        clean = CLEAN_ITEM.match(self._text, at)
        if clean is not None:
            segment = Segment("item", clean.span(), candidate=clean_candidate(self._text, clean))
        elif self._text.startswith("{}", at):
            segment = Segment("wrapper", (at, at + 2))
        else:
            return False
        if self._stack:
            # What follows it may stand under the same key.
            self._stack[-1].key_at(self._text, at)
        self._at = segment.span[1]
        self._report(segment, len(self._taken))
        self._hand_to_parent(None, segment.span)
        return True

    def _abandon(self, at: int) -> None:
        """Give up an object whose string never closed, because the next one begins here."""
        opened = self._stack.pop()
        self._quote = ""
        span = (opened.start, at)
        self._report(Segment("broken", span, {}, "string without closing quote"), opened.taken_before)
        self._hand_to_parent(None, span)
        self._open(at)

    def _close(self, end: int) -> None:
        opened = self._stack.pop()
        # Once more, because it may have come in several chunks.
        clean = None if opened.first_child is not None else CLEAN_ITEM.fullmatch(self._text, opened.start, end)
        if clean is not None:
            self._report(
                Segment("item", clean.span(), candidate=clean_candidate(self._text, clean)), opened.taken_before
            )
            self._hand_to_parent(None, clean.span())
            return
        found, leaves, values = opened.close(self._text, end, bool(self._stack))
        for place, segment in enumerate(found):
            # Several things in one object stand side by side.
            beside = place and segment.span != (opened.start, end)
            self._report(segment, len(self._taken) if beside else opened.taken_before)
        if self._stack:
            self._stack[-1].leaves += leaves
        self._hand_to_parent(values, (opened.start, end))

    def _hand_to_parent(self, values: Values | None, span: Span) -> None:
        if self._stack:
            self._stack[-1].holes.append((span, TreeNode(values, span)))
        else:
            self._report_text(self._text_from, span[1])

    def _report(self, segment: Segment, taken_before: int) -> None:
        """Report an object and forget what was found inside it."""
        self._found.append(segment)
        del self._taken[taken_before:]
        self._taken.append(segment.span)
        if self._stack:
            self._stack[-1].carries = True

    def _report_text(self, start: int, end: int) -> None:
        """Report what may hold objects between the pieces found since `start`, and go on at `end`."""
        if self._taken != [(start, end)]:
            for taken_start, taken_end in [*sorted(self._taken), (end, end)]:
                if start < taken_start and _OF_TEXT_FORM.search(self._text, start, taken_start):
                    self._found.append(Segment("text", (start, taken_start)))
                start = max(start, taken_end)
        self._taken.clear()
        self._text_from = end
