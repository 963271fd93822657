"""Tell a repetition loop while a reply is still being written, so that it can be ended early.

Small models that decode greedily sometimes write the same object, or the same few words, until
their tokens run out. A loop is certain when the end of the text is one unit written again and
again without any difference: at least four times, and over a run that no honest reply has (the
table below). A list of similar objects differs in its digits, a grid of boxes too, and prose
never says the same thing four times over in the very same letters.
"""

from __future__ import annotations

REPEATS = 4
LONGEST_UNIT = 1024
# Shortest run for units of few characters, which honest text repeats: "ha ha", "0 0 0", "----".
_RUN = 48
_RUN_OF_SHORT_UNIT = 96
_SHORT_UNIT = 8
# Rules of tables, dots and spaces go on for long without being a loop.
_RUN_WITHOUT_WORDS = 512
_STEP = 32
_PROBE = 24
_KEPT = REPEATS * LONGEST_UNIT


class RepetitionWatch:
    """Watches one reply; cheap enough to be asked after every token.

    The text is looked at every 32 characters, so how it is cut into chunks changes nothing. Time
    is linear and memory constant.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._pending = ""
        self._certain = False

    def feed(self, chunk: str) -> bool:
        """Take more of the reply.

        Returns:
            Whether it has run into a loop; once true, it stays true.
        """
        if self._certain:
            return True
        pending = self._pending + chunk
        at = 0
        while len(pending) - at >= _STEP and not self._certain:
            self._tail = (self._tail + pending[at : at + _STEP])[-_KEPT:]
            at += _STEP
            self._certain = _ends_in_loop(self._tail)
        self._pending = pending[at:]
        return self._certain


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
    if not any(map(str.isalnum, unit)):
        return _RUN_WITHOUT_WORDS
    return _RUN_OF_SHORT_UNIT if length < _SHORT_UNIT else _RUN
