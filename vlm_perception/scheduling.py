"""Which frame is next, and when: newest first, not too often, not too old. No ROS, no model.

Times are seconds of a monotonic `Clock`, so that tests can move it by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Clock = Callable[[], float]
T = TypeVar("T")


class LatestSlot(Generic[T]):
    """A mailbox that holds one item: a new one replaces the old one. Thread-safe.

    A queue would hand the model frames that are seconds old; here it always gets the newest.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Store an item without waiting.

        Returns:
            Whether an item that nobody had taken was replaced. A closed slot takes nothing.
        """
        with self._condition:
            if self._closed:
                return False
            replaced = self._item is not None
            self._item = item
            self._condition.notify()
            return replaced

    def take(self, timeout_s: float | None = None) -> T | None:
        """Remove and return the newest item, waiting for one if there is none.

        Args:
            timeout_s: Longest wait; None waits until an item comes or the slot is closed.

        Returns:
            The item, or None after the time-out or once the slot is closed.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None, timeout_s)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Throw the item away and wake everyone who waits; later items are ignored."""
        with self._condition:
            self._closed = True
            self._item = None
            self._condition.notify_all()


class RateGate:
    """Opens at most `max_rate_hz` times a second. Used by one thread; the rate may change at any time.

    Openings are measured from start to start, so that a slow answer is not followed by a wait.
    """

    def __init__(self, max_rate_hz: float, clock: Clock = time.monotonic) -> None:
        self.max_rate_hz = max_rate_hz
        self._clock = clock
        self._passed_s: float | None = None

    def wait_s(self) -> float:
        """Seconds until the gate opens; 0 when it is open."""
        if self._passed_s is None:
            return 0.0
        return max(0.0, self._passed_s + 1.0 / self.max_rate_hz - self._clock())

    def mark_passed(self) -> None:
        """Close the gate for one period from now."""
        self._passed_s = self._clock()

    def reset(self) -> None:
        """Open the gate now, for the first frame of a new question."""
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
