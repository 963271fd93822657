"""Tell a repetition loop while a reply is still being written, so that it can be ended early.

Small models that decode greedily sometimes write the same object, or the same few words, until
their tokens run out. A loop is certain when the end of the text is one unit written again and
again without any difference: at least four times, and over a run that no honest reply has (the
table below). A list of similar objects differs in its digits, a grid of boxes too, and prose
never says the same thing four times over in the very same letters.

Others count on without end: "car 1", "car 2", ..., each box as large as the last and the same step further. Rows of
things do so for a while, too, so that is a loop only after a number of steps that no scene makes sense of.
"""

from __future__ import annotations

import re

REPEATS = 4
LONGEST_UNIT = 1024
# Shortest run for units of few characters, which honest text repeats: "ha ha", "0 0 0", "----".
_RUN = 48
_RUN_OF_SHORT_UNIT = 96
_SHORT_UNIT = 8
# Rules of tables, dots, spaces and empty rows of a form in HTML go on for long without being a loop.
_RUN_WITHOUT_WORDS = 512
_TAG = re.compile(r"</?(?:tr|td|th|li|p|br)\s?/?>")
_STEP = 32
_PROBE = 24
_KEPT = REPEATS * LONGEST_UNIT
# Equal steps of equal boxes: where the names count along, and where they stay the same, as in a row of seats.
_STEPS = 12
_STEPS_OF_ONE_NAME = 32
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PLACE = re.compile(r"-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?){1,3}")


class RepetitionWatch:
    """Watches one reply; cheap enough to be asked after every token.

    The text is looked at every 32 characters, so how it is cut into chunks changes nothing. Time
    is linear and memory constant.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._pending = ""
        self._certain = False
        self._marches = (_March("}"), _March("\n"))

    def feed(self, chunk: str) -> bool:
        """Take more of the reply.

        Returns:
            Whether it has run into a loop; once true, it stays true.
        """
        if self._certain:
            return True
        marching = [march.feed(chunk) for march in self._marches]
        pending = self._pending + chunk
        at = 0
        while len(pending) - at >= _STEP and not self._certain:
            self._tail = (self._tail + pending[at : at + _STEP])[-_KEPT:]
            at += _STEP
            self._certain = _ends_in_loop(self._tail)
        self._pending = pending[at:]
        self._certain = self._certain or any(marching)
        return self._certain


class _March:
    """Watches the items of a reply for numbers that move by the same step from each to the next.

    Args:
        end: The sign with which an item ends.
    """

    def __init__(self, end: str) -> None:
        self._end = end
        self._item = ""
        self._form = ""
        self._numbers: list[float] = []
        self._step: list[float] = []
        self._steps = 0

    def feed(self, chunk: str) -> bool:
        """Take more of the reply and tell whether it marches on without end."""
        if self._end not in chunk:
            self._item = (self._item + chunk)[-LONGEST_UNIT:]
            return False
        *items, self._item = (self._item + chunk).split(self._end)
        return any(self._pass(item[-LONGEST_UNIT:]) for item in items)

    def _pass(self, item: str) -> bool:
        place = _PLACE.search(item)
        if place is None:
            # Brackets and commas between items.
            self._steps = self._steps if not any(map(str.isalnum, item)) else 0
            return False
        form = _NUMBER.sub("0", item).strip(" ,\t\r\n[")
        numbers = [float(number) for number in _NUMBER.findall(item)]
        if form != self._form:
            self._form, self._numbers, self._step, self._steps = form, numbers, [], 0
            return False
        step = [now - before for now, before in zip(numbers, self._numbers, strict=True)]
        self._steps = self._steps + 1 if step == self._step else 1
        self._numbers, self._step = numbers, step
        first = len(_NUMBER.findall(item, 0, place.start()))
        moves = step[first : first + len(_NUMBER.findall(place[0]))]
        if moves[:2] != moves[-2:] or not any(step):
            return False
        names_count = any(step[:first]) or any(step[first + len(moves) :])
        return self._steps > (_STEPS if names_count else _STEPS_OF_ONE_NAME)


def _ends_in_loop(tail: str) -> bool:
    """Try every unit after which the last characters come again, the shortest first."""
    end = len(tail)
    start = end - _PROBE
    probe = tail[start:]
    lowest = max(0, start - LONGEST_UNIT)
    at = tail.rfind(probe, lowest, end - 1)
    while at >= 0:
        unit = start - at
        if _runs_on(tail, unit, max(REPEATS * unit, _RUN)) and _runs_on(tail, unit, _shortest_run(tail[end - unit :])):
            return True
        at = tail.rfind(probe, lowest, at + _PROBE - 1)
    return False


def _runs_on(tail: str, unit: int, run: int) -> bool:
    """Tell whether the last `run` characters repeat every `unit` characters."""
    start = len(tail) - run
    return start >= 0 and tail.startswith(tail[start + unit :], start)


def _shortest_run(unit: str) -> int:
    # Several small units together are not a larger one.
    length = (unit + unit).find(unit, 1)
    # From its first tag on, no tag lies across its ends.
    first = max(0, unit.find("<"))
    if not any(map(str.isalnum, _TAG.sub("", unit[first:] + unit[:first]))):
        return _RUN_WITHOUT_WORDS
    return _RUN_OF_SHORT_UNIT if length < _SHORT_UNIT else _RUN
