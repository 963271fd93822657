"""How an item that is being written goes on, if it is the one that was expected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_perception.engines.drafting.template import Item, Kind
from vlm_perception.types import WH

_DIGITS = re.compile(r"\d{1,9}")
_LAST_WORD = re.compile(r"\S+\Z")
_MOST_DIGITS = 5
# A model's own coordinates tremble by this much, each edge for itself.
_TREMBLE_PX = 2


@dataclass(frozen=True, slots=True)
class Step:
    """What is expected next.

    Attributes:
        text: How the reply goes on.
        whole: Whether all of the item is known; without that, nothing can be said about what follows it.
        distance_px: Mean distance of the coordinates written so far from the expected ones.
        words_differ: Whether a string was written that is not the expected one.
    """

    text: str
    whole: bool
    distance_px: float = 0.0
    words_differ: bool = False


def continue_item(written: str, item: Item, model_wh: WH, known_words: Sequence[str] = ()) -> Step | None:
    """Lay what was written over the expected item; a number with other digits, or more of them, loses nothing.

    A coordinate that came out otherwise by more than a tremble moves those of the same axis that
    follow it: an object that is not where it was expected is so with both its edges.

    Args:
        written: The item so far.
        item: What is expected.
        model_wh: Bounds of the coordinates, pixels.
        known_words: Strings that may be written where the expected one is not.

    Returns:
        The rest of the item; None when it is written in another form.
    """
    walk = _Walk(written, item, model_wh, known_words)
    return walk.run()


class _Walk:
    """One pass over the slots; `_at` is how much of the written text is used up."""

    def __init__(self, written: str, item: Item, model_wh: WH, known_words: Sequence[str]) -> None:
        self._written, self._item, self._wh, self._known = written, item, model_wh, known_words
        self._at = 0
        self._shift = [0, 0]
        self._distances: list[float] = []
        self._numbers = 0
        self._differ = False

    def run(self) -> Step | None:
        for index, text in enumerate(self._item.texts):
            left = self._written[self._at :]
            if not left.startswith(text):
                return self._step(text[len(left) :], index) if text.startswith(left) else None
            self._at += len(text)
            if index == len(self._item.slots):
                return self._step("", index) if self._at == len(self._written) else None
            if self._at == len(self._written):
                return self._step("", index)
            read = self._read_number if self._item.kinds[index] == "number" else self._read_words
            rest = read(index)
            if rest is None:
                return None
            if self._at == len(self._written):
                return self._step(rest, index + 1, self._item.texts[index + 1]) if rest != _UNKNOWN else self._stop()
        return None

    def _read_number(self, index: int) -> str | None:
        """Use up one number; what is left of it to write, `_UNKNOWN`, or None when there is none."""
        found = _DIGITS.match(self._written, self._at)
        if not found:
            return None
        self._at, axis, slot = found.end(), self._numbers % 2, self._item.slots[index]
        self._numbers += 1
        value = int(found[0])
        if not isinstance(slot, int):
            # One digit more would lie outside of the image.
            return "" if value * 10 > self._wh[axis] else _UNKNOWN
        expected = slot + self._shift[axis]
        if self._at == len(self._written):
            whole = nearest_number(found[0], expected, self._wh[axis])
            self._distances.append(abs(int(whole) - expected))
            rest = whole[len(found[0]) :]
            value = int(whole)
        else:
            self._distances.append(abs(value - expected))
            rest = ""
        if abs(value - expected) > _TREMBLE_PX:
            self._shift[axis] += value - expected
        return rest

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
        return rest_of_words(so_far, expected)

    def _step(self, text: str, index: int, behind: str = "") -> Step:
        rest, whole = render_from(self._item, index, self._wh, self._shift, self._numbers, self._known)
        return Step(text + behind + rest, whole, self._distance(), self._differ)

    def _stop(self) -> Step:
        return Step("", False, self._distance(), self._differ)

    def _distance(self) -> float:
        return sum(self._distances) / len(self._distances) if self._distances else 0.0


_UNKNOWN = "\0"


def render_from(
    item: Item, index: int, model_wh: WH, shift: Sequence[int], numbers: int, known_words: Sequence[str]
) -> tuple[str, bool]:
    """Write the slots from `index` on, each with the text behind it.

    Returns:
        The text up to the first slot that is not known, and whether that is all.
    """
    parts: list[str] = []
    for place in range(index, len(item.slots)):
        slot: int | str | None = item.slots[place]
        if isinstance(slot, int):
            axis = numbers % 2
            slot = min(max(slot + shift[axis], 0), model_wh[axis])
            numbers += 1
        elif slot is None and _takes_words(item.kinds[place]) and known_words:
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


def rest_of_words(so_far: str, known: Sequence[str]) -> str:
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


def _takes_words(kind: Kind) -> bool:
    return kind == "words"
