"""How a reply that is being written goes on, from the reply that was expected.

What was written is laid over the expected reply item by item, so that a mismatch never loses the
rest: an object that left is passed over, one that is new is written without being expected, and
whatever the model says next is looked for among the objects that are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlm_perception.engines.drafting.motion import ExpectedReply
from vlm_perception.engines.drafting.template import (
    TRAINED_TEMPLATES,
    ReplyItem,
    ReplyTemplate,
    gap_after,
    next_closed_item,
    open_item_start,
    read_item,
)
from vlm_perception.types import WH

# Mean distances in shares of the model image's longer side: the object that is next is taken when it is
# within the first, another one when it is nearer, and none when all are beyond the second.
_NEXT_ONE = 0.06
_FARTHEST = 0.15
_LONGEST_CONTEXT = 24
_SHORTEST_CONTEXT = 4
_COPIED = 160
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"\d{1,9}")
_MOST_DIGITS = 5
_LAST_WORD = re.compile(r"\S+\Z")
# A model's own coordinates tremble by this much, each edge for itself.
_TREMBLE_PX = 2
# Stands for a number or a string that nobody knows.
_UNKNOWN = "\0"

Continuation = tuple[str, bool]


class ReplyContinuation:
    """Follows one reply.

    Args:
        expected: What is expected, None when nothing is.
        model_wh: Bounds of the coordinates, pixels.
        targets: Phrases that were asked for.
    """

    def __init__(self, expected: ExpectedReply | None, model_wh: WH, targets: Sequence[str] = ()) -> None:
        self._expected = expected.template if expected else None
        self._away = expected.away if expected else frozenset[int]()
        self._wh, self._targets = model_wh, targets
        self._left = dict(enumerate(self._expected.items)) if self._expected else {}
        self._next = 0
        self._text = ""
        self._done = 0
        self._head = self._gap = ""
        self._closed: list[ReplyItem] = []

    def feed(self, text: str) -> None:
        """Take what was written since the last call."""
        self._text += text
        while found := next_closed_item(self._text, self._done):
            start, end = found
            if self._closed:
                self._gap = self._text[self._done : start]
            else:
                self._head = self._text[:start]
            item = self._text[start:end]
            place, _ = self._recognise(item)
            if place is not None:
                del self._left[place]
                self._next = place + 1
            self._closed.append(read_item(item))
            self._done = end

    def go_on(self) -> Continuation:
        """Tell how the reply goes on.

        Returns:
            The text, and whether the reply ends with it.
        """
        found = self._by(self._expected, self._left) if self._expected else None
        for template in self._forms():
            found = found or self._by(template, {})
        return found or self._by_context() or ("", False)

    def _forms(self) -> Sequence[ReplyTemplate]:
        """The form of this reply as far as it has shown, else those the model was trained for."""
        if not self._closed:
            return TRAINED_TEMPLATES
        tail = next((s.tail for s in TRAINED_TEMPLATES if s.items and s.head == self._head), None)
        return (ReplyTemplate(self._head, (self._closed[-1].emptied(),), self._gap or gap_after(self._head), tail),)

    def _by(self, template: ReplyTemplate, left: dict[int, ReplyItem]) -> Continuation | None:
        """Go on by one template; None when the reply does not fit it."""
        since = self._text[self._done :]
        if not self._closed and len(since) < len(template.head):
            return self._from_head(since, template, left) if template.head.startswith(since) else None
        if not self._closed and not since.startswith(template.head):
            return None
        if not template.items:
            return ("", True) if since == template.head and not self._closed else None
        start = open_item_start(self._text, max(self._done, 0 if self._closed else len(template.head)))
        if self._text[self._done : start] == (template.gap if self._closed else template.head):
            place, step = self._recognise(self._text[start:], template, left)
            if step is not None and (start < len(self._text) or not self._closed):
                return self._after_item(place, step, template, left)
        return self._between(since, template, left)

    def _recognise(
        self, written: str, template: ReplyTemplate | None = None, left: dict[int, ReplyItem] | None = None
    ) -> tuple[int | None, ItemContinuation | None]:
        """Find which expected object an item is: its place and how it goes on; no place when it is a new one."""
        template, left = template or self._expected, self._left if left is None else left
        if template is None or not template.items:
            return None, None
        side, words = max(self._wh), self._known_words()
        for place in self._following(left, self._next):
            step = _ItemWalk(written, left[place], self._wh, words).step()
            if step is not None:
                if step.distance_px <= _NEXT_ONE * side and not step.words_differ:
                    return place, step
                break
        steps = {place: _ItemWalk(written, item, self._wh, words).step() for place, item in left.items()}
        fits = {place: step for place, step in steps.items() if step is not None}
        if fits:
            place = min(fits, key=lambda p: (fits[p].distance_px + fits[p].words_differ * _NEXT_ONE * side, p))
            if fits[place].distance_px <= _FARTHEST * side:
                return place, fits[place]
        return None, _ItemWalk(written, template.items[-1].emptied(), self._wh, words).step()

    def _after_item(
        self, place: int | None, step: ItemContinuation, template: ReplyTemplate, left: dict[int, ReplyItem]
    ) -> Continuation:
        if not step.whole:
            return step.text, False
        following = self._following(left, self._next if place is None else place + 1)
        rest, ends = self._chain(template, [left[p] for p in following])
        return step.text + rest, ends

    def _following(self, left: Iterable[int], start: int) -> list[int]:
        """Places from `start` on whose objects are expected, and not only possible."""
        return [place for place in sorted(left) if place >= start and place not in self._away]

    def _between(self, since: str, template: ReplyTemplate, left: dict[int, ReplyItem]) -> Continuation | None:
        """Go on behind an item: with the next expected one, with the end, or with one more that is not expected."""
        items = [left[place] for place in self._following(left, self._next)]
        opening = template.gap + template.items[-1].texts[0]
        for option in (self._chain(template, items), self._chain(template, []), (opening, False)):
            if option[0].startswith(since) and (option[1] or len(option[0]) > len(since)):
                return option[0][len(since) :], option[1]
        return None

    def _from_head(self, since: str, template: ReplyTemplate, left: dict[int, ReplyItem]) -> Continuation:
        """Go on within the text before the first item."""
        rest, ends = "", not template.items
        if left:
            rest, ends = self._chain(template, [left[place] for place in self._following(left, 0)])
            rest = rest[len(template.gap) :]
        elif template.items:
            rest = template.items[0].texts[0]
        return template.head[len(since) :] + rest, ends

    def _chain(self, template: ReplyTemplate, items: Sequence[ReplyItem]) -> Continuation:
        """Write items, each behind a gap, and the end."""
        parts: list[str] = []
        for item in items:
            rest, whole = render_from(item, 0, self._wh, (0, 0), 0, ())
            parts += [template.gap, item.texts[0], rest]
            if not whole:
                return "".join(parts), False
        return "".join(parts) + (template.tail or ""), template.tail is not None

    def _known_words(self) -> list[str]:
        """Strings that may come, likeliest first: what was asked for, what was said last, what is expected."""
        said = [words for item in reversed(self._closed) for words in item.words()]
        expected = [words for item in self._expected.items for words in item.words()] if self._expected else []
        asked = list(self._targets) if len(self._targets) == 1 and not said else []
        return list(dict.fromkeys([*asked, *said, *expected, *self._targets]))

    def _by_context(self) -> Continuation | None:
        """Go on as the expected reply did behind the same words; numbers count as alike."""
        expected = self._expected
        if expected is None:
            return None
        known = (expected.tail if self._closed else "") if expected.items or not self._text else expected.head
        text, source = _DIGIT.sub("0", self._text[-_LONGEST_CONTEXT:]), _DIGIT.sub("0", known or "")
        for length in range(len(text), _SHORTEST_CONTEXT - 1, -1):
            at = source.rfind(text[-length:])
            if known and at >= 0:
                rest = known[at + length :]
                return rest[:_COPIED], len(rest) <= _COPIED
        return None


@dataclass(frozen=True, slots=True)
class ItemContinuation:
    """How an item goes on.

    Attributes:
        text: What follows what was written.
        whole: Whether all of the item is known; without that, nothing can be said about what follows it.
        distance_px: Mean distance of the coordinates written so far from the expected ones.
        words_differ: Whether a string was written that is not the expected one.
    """

    text: str
    whole: bool
    distance_px: float = 0.0
    words_differ: bool = False


class _ItemWalk:
    """Lays what was written over an expected item; a number with other digits, or more of them, loses nothing.

    A coordinate that came out otherwise by more than a tremble moves those of the same axis that
    follow it: an object that is not where it was expected is so with both its edges. `_at` is how
    much of the written text is used up.

    Args:
        written: The item so far.
        item: What is expected.
        model_wh: Bounds of the coordinates, pixels.
        known_words: Strings that may be written where the expected one is not.
    """

    def __init__(self, written: str, item: ReplyItem, model_wh: WH, known_words: Sequence[str]) -> None:
        self._written, self._item, self._wh, self._known = written, item, model_wh, known_words
        self._at = 0
        self._shift = [0, 0]
        self._distances: list[float] = []
        self._numbers = 0
        self._differ = False

    def step(self) -> ItemContinuation | None:
        """Return the rest of the item; None when it is written in another form."""
        for index, text in enumerate(self._item.texts):
            left = self._written[self._at :]
            if not left.startswith(text):
                return self._rest(text[len(left) :], index) if text.startswith(left) else None
            self._at += len(text)
            if self._at == len(self._written):
                return self._rest("", index)
            if index == len(self._item.slots):
                return None
            read = self._read_number if self._item.kinds[index] == "number" else self._read_words
            rest = read(index)
            if rest is None:
                return None
            if self._at == len(self._written):
                unknown = rest == _UNKNOWN
                return self._found("", False) if unknown else self._rest(rest + self._item.texts[index + 1], index + 1)
        return None

    def _read_number(self, index: int) -> str | None:
        """Use up one number; what is left of it to write, `_UNKNOWN`, or None when there is none."""
        found = _DIGITS.match(self._written, self._at)
        if not found:
            return None
        self._at, axis, slot = found.end(), self._numbers % 2, self._item.slots[index]
        self._numbers += 1
        if not isinstance(slot, int):
            # One digit more would lie outside of the image.
            return "" if int(found[0]) * 10 > self._wh[axis] else _UNKNOWN
        expected, whole = slot + self._shift[axis], found[0]
        if self._at == len(self._written):
            whole = nearest_number(whole, expected, self._wh[axis])
        off = int(whole) - expected
        self._distances.append(abs(off))
        if abs(off) > _TREMBLE_PX:
            self._shift[axis] += off
        return whole[len(found[0]) :]

    def _read_words(self, index: int) -> str | None:
        """Use up one string; what is left of it to write, or `_UNKNOWN`."""
        end = self._written.find('"', self._at)
        so_far = self._written[self._at : end if end >= 0 else None]
        self._at += len(so_far)
        slot = self._item.slots[index]
        if end >= 0:
            self._differ |= isinstance(slot, str) and slot != so_far
            return ""
        expected = (slot, *self._known) if isinstance(slot, str) else self._known
        self._differ |= isinstance(slot, str) and not slot.startswith(so_far)
        return _rest_of_words(so_far, expected)

    def _rest(self, text: str, index: int) -> ItemContinuation:
        rest, whole = render_from(self._item, index, self._wh, self._shift, self._numbers, self._known)
        return self._found(text + rest, whole)

    def _found(self, text: str, whole: bool) -> ItemContinuation:
        distance_px = sum(self._distances) / len(self._distances) if self._distances else 0.0
        return ItemContinuation(text, whole, distance_px, self._differ)


def render_from(
    item: ReplyItem, index: int, model_wh: WH, shift: Sequence[int], numbers: int, known_words: Sequence[str]
) -> tuple[str, bool]:
    """Write the slots from `index` on, each with the text behind it.

    Returns:
        The text up to the first slot that is not known, and whether that is all.
    """
    parts: list[str] = []
    for place in range(index, len(item.slots)):
        slot = item.slots[place]
        if isinstance(slot, int):
            axis = numbers % 2
            slot = min(max(slot + shift[axis], 0), model_wh[axis])
            numbers += 1
        elif slot is None and item.kinds[place] == "words" and known_words:
            slot = known_words[0]
        if slot is None:
            return "".join(parts), False
        parts += [str(slot), item.texts[place + 1]]
    return "".join(parts), True


def nearest_number(prefix: str, expected: int, highest: int) -> str:
    """Return the number nearest to `expected` of those that begin with the digits `prefix`; the shorter of two.

    Args:
        prefix: Digits written so far, at least one.
        expected: What was expected.
        highest: Numbers above are not written, except for `prefix` itself.
    """
    if prefix.startswith("0"):
        return prefix
    best, distance = prefix, abs(int(prefix) - expected)
    for extra in range(1, _MOST_DIGITS - len(prefix) + 1):
        low = int(prefix) * 10**extra
        nearest = min(max(expected, low), low + 10**extra - 1)
        if nearest <= highest and abs(nearest - expected) < distance:
            best, distance = str(nearest), abs(nearest - expected)
    return best


def _rest_of_words(so_far: str, known: Sequence[str]) -> str:
    """Return what is left of the first known string that begins so; nothing after a word that ended one before.

    Returns:
        The rest; `_UNKNOWN` when nothing is known that begins or ends so.
    """
    for words in known:
        if words.startswith(so_far):
            return words[len(so_far) :]
    last = _LAST_WORD.search(so_far)
    if last and any(words.endswith(last[0]) for words in known):
        return ""
    # The object is another one, but its last word may be that of a known one: "blue", " circle".
    return _UNKNOWN
