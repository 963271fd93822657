"""How the time of a piece of work grows with its input."""

from __future__ import annotations

import time
from collections.abc import Callable

# Several tries: a busy machine counts its waits as work.
_TRIES = 8
_FLOOR_S = 0.01


def grows_with_its_length(work: Callable[[str], object], text: str) -> bool:
    """Whether four times the text takes less than ten times as long: 4 where time grows with it, 16 with its square."""

    def spent_s(chars: int) -> float:
        began_s = time.process_time()
        work(text[:chars])
        return time.process_time() - began_s

    return any(spent_s(len(text)) < 10 * max(spent_s(len(text) // 4), _FLOOR_S) for _ in range(_TRIES))
