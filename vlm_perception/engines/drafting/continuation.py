"""How a reply that is being written goes on, from the reply that was expected.

What was written is laid over the expected reply item by item, so that a mismatch never loses the
rest: an object that left is passed over, one that is new is written without being expected, and
whatever the model says next is looked for among the objects that are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vlm_perception.engines.drafting.item_continuation import Step, continue_item, render_from
from vlm_perception.engines.drafting.motion import Expected
from vlm_perception.engines.drafting.template import (
    TRAINED_SHAPES,
    Item,
    Shape,
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

Continuation = tuple[str, bool]
_NOTHING: Continuation = ("", False)


class ReplyContinuation:
    """Follows one reply.

    Args:
        expected: What is expected, None when nothing is.
        model_wh: Bounds of the coordinates, pixels.
        targets: Phrases that were asked for.
    """

    def __init__(self, expected: Expected | None, model_wh: WH, targets: Sequence[str] = ()) -> None:
        self._expected = expected.shape if expected else None
        self._away = expected.away if expected else frozenset[int]()
        self._wh, self._targets = model_wh, targets
        self._left = dict(enumerate(self._expected.items)) if self._expected else {}
        self._next = 0
        self._text = ""
        self._done = 0
        self._head = self._gap = ""
        self._closed: list[Item] = []

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
        for shape in self._forms():
            found = found or self._by(shape, {})
        return found or self._by_context() or _NOTHING

    def _forms(self) -> Sequence[Shape]:
        """The form of this reply as far as it has shown, else those the model was trained for."""
        if not self._closed:
            return TRAINED_SHAPES
        tail = next((s.tail for s in TRAINED_SHAPES if s.items and s.head == self._head), None)
        return (Shape(self._head, (self._closed[-1].emptied(),), self._gap or gap_after(self._head), tail),)

    def _by(self, shape: Shape, left: dict[int, Item]) -> Continuation | None:
        """Go on by one shape; None when the reply does not fit it."""
        since = self._text[self._done :]
        if not self._closed and len(since) < len(shape.head):
            return self._from_head(since, shape, left) if shape.head.startswith(since) else None
        if not self._closed and not since.startswith(shape.head):
            return None
        if not shape.items:
            return ("", True) if since == shape.head and not self._closed else None
        start = open_item_start(self._text, max(self._done, 0 if self._closed else len(shape.head)))
        if self._text[self._done : start] == (shape.gap if self._closed else shape.head):
            place, step = self._recognise(self._text[start:], shape, left)
            if step is not None and (start < len(self._text) or not self._closed):
                return self._after_item(place, step, shape, left)
        return self._between(since, shape, left)

    def _recognise(
        self, written: str, shape: Shape | None = None, left: dict[int, Item] | None = None
    ) -> tuple[int | None, Step | None]:
        """Find which expected object an item is: its place and how it goes on; no place when it is a new one."""
        shape, left = shape or self._expected, self._left if left is None else left
        if shape is None or not shape.items:
            return None, None
        side, words = max(self._wh), self._known_words()
        for place in self._following(left, self._next):
            step = continue_item(written, left[place], self._wh, words)
            if step is not None:
                if step.distance_px <= _NEXT_ONE * side and not step.words_differ:
                    return place, step
                break
        steps = {place: continue_item(written, item, self._wh, words) for place, item in left.items()}
        fits = {place: step for place, step in steps.items() if step is not None}
        if fits:
            place = min(fits, key=lambda p: (fits[p].distance_px + fits[p].words_differ * _NEXT_ONE * side, p))
            if fits[place].distance_px <= _FARTHEST * side:
                return place, fits[place]
        return None, continue_item(written, shape.items[-1].emptied(), self._wh, words)

    def _after_item(self, place: int | None, step: Step, shape: Shape, left: dict[int, Item]) -> Continuation:
        if not step.whole:
            return step.text, False
        following = self._following(left, self._next if place is None else place + 1)
        rest, ends = self._chain(shape, [left[p] for p in following])
        return step.text + rest, ends

    def _following(self, left: Iterable[int], start: int) -> list[int]:
        """Places from `start` on whose objects are expected, and not only possible."""
        return [place for place in sorted(left) if place >= start and place not in self._away]

    def _between(self, since: str, shape: Shape, left: dict[int, Item]) -> Continuation | None:
        """Go on behind an item: with the next expected one, with the end, or with one more that is not expected."""
        items = [left[place] for place in self._following(left, self._next)]
        opening = shape.gap + shape.items[-1].texts[0]
        for option in (self._chain(shape, items), self._chain(shape, []), (opening, False)):
            if option[0].startswith(since) and (option[1] or len(option[0]) > len(since)):
                return option[0][len(since) :], option[1]
        return None

    def _from_head(self, since: str, shape: Shape, left: dict[int, Item]) -> Continuation:
        """Go on within the text before the first item."""
        rest, ends = "", not shape.items
        if left:
            rest, ends = self._chain(shape, [left[place] for place in self._following(left, 0)])
            rest = rest[len(shape.gap) :]
        elif shape.items:
            rest = shape.items[0].texts[0]
        return shape.head[len(since) :] + rest, ends

    def _chain(self, shape: Shape, items: Sequence[Item]) -> Continuation:
        """Write items, each behind a gap, and the end."""
        parts: list[str] = []
        for item in items:
            rest, whole = render_from(item, 0, self._wh, (0, 0), 0, ())
            parts += [shape.gap, item.texts[0], rest]
            if not whole:
                return "".join(parts), False
        return "".join(parts) + (shape.tail or ""), shape.tail is not None

    def _known_words(self) -> list[str]:
        """Strings that may come, likeliest first: what was asked for, what was said last, what is expected."""
        said = [words for item in reversed(self._closed) for words in item.words()]
        expected = [words for item in self._expected.items for words in item.words()] if self._expected else []
        asked = list(self._targets) if len(self._targets) == 1 and not said else []
        return list(dict.fromkeys([*asked, *said, *expected, *self._targets]))

    def _by_context(self) -> Continuation | None:
        """Go on as the expected reply did behind the same words; numbers count as alike."""
        if self._expected is None or self._expected.items or not self._text:
            return self._by_tail()
        return self._as_behind(self._expected.head)

    def _by_tail(self) -> Continuation | None:
        tail = self._expected.tail if self._expected and self._closed else None
        return self._as_behind(tail) if tail else None

    def _as_behind(self, known: str) -> Continuation | None:
        text, source = _DIGIT.sub("0", self._text[-_LONGEST_CONTEXT:]), _DIGIT.sub("0", known)
        for length in range(len(text), _SHORTEST_CONTEXT - 1, -1):
            at = source.rfind(text[-length:])
            if at >= 0:
                rest = known[at + length :]
                return rest[:_COPIED], len(rest) <= _COPIED
        return None
