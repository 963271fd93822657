"""When the next frame is due, and how often something may be said. No ROS, no model.

Times are seconds of a monotonic `Clock`, so that tests can move it by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

Clock = Callable[[], float]


class RateGate:
    """Opens at most `max_rate_hz` times a second. Not thread-safe; the rate may change at any time.

    Openings are measured from start to start, so that a slow answer is not followed by a wait.
    """

    def __init__(self, max_rate_hz: float, clock: Clock = time.monotonic) -> None:
        self.max_rate_hz = max_rate_hz
        self._clock = clock
        self._passed_s: float | None = None
        self._count = 1

    def wait_s(self) -> float:
        """Seconds until the gate opens; 0 when it is open."""
        if self._passed_s is None:
            return 0.0
        return max(0.0, self._passed_s + self._count / self.max_rate_hz - self._clock())

    def mark_passed(self, count: int = 1) -> None:
        """Close the gate from now for one period a frame, when `count` frames pass together."""
        self._passed_s = self._clock()
        self._count = count

    def reset(self) -> None:
        """Open the gate now, for the first frame of a new prompt."""
        self._passed_s = None


class Throttle:
    """Lets a repeated event of one kind through once per period. Thread-safe."""

    def __init__(self, period_s: float, clock: Clock = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s: dict[Hashable, float] = {}

    def allows(self, kind: Hashable) -> bool:
        """Whether this event of `kind` (drawn from a small set) should be reported."""
        now_s = self._clock()
        with self._lock:
            last_s = self._last_s.get(kind)
            if last_s is not None and now_s - last_s < self._period_s:
                return False
            self._last_s[kind] = now_s
            return True
