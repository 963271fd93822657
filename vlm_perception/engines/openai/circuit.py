"""When a server that failed may be asked again: a circuit breaker with exponential back-off.

Source: M. Nygard, "Release It!", chapter on stability patterns ("Circuit Breaker").
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0


class Circuit:
    """Open while a server is not to be asked.

    A check that finds the server alive closes it, and the next failure opens it for longer than the last one, until
    an answer has come: a server that is up and fails every question is not asked every half second.

    Args:
        clock: Monotonic seconds.

    Attributes:
        reason: Why it is open; empty while it is closed.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures, self._until_s = 0, 0.0
        self.reason = ""

    @property
    def is_open(self) -> bool:
        """Whether the server is not to be asked."""
        return bool(self.reason)

    @property
    def wait_s(self) -> float:
        """Seconds until the server may be looked at again; 0 when it may be now."""
        return max(0.0, self._until_s - self._clock()) if self.is_open else 0.0

    def fail(self, reason: str, retry_after_s: float | None = None) -> None:
        """Open, or stay open, for as long as the server itself asked for, or longer than the last time."""
        backoff_s = min(FIRST_BACKOFF_S * 2.0**self._failures, LONGEST_BACKOFF_S)
        self._failures = min(self._failures + 1, 16)
        self.reason = reason
        self._until_s = self._clock() + (backoff_s if retry_after_s is None else retry_after_s)

    def close(self) -> None:
        """Let the server be asked again: it is alive."""
        self.reason = ""

    def succeed(self) -> None:
        """Forget all failures: the server has answered."""
        self._failures, self.reason = 0, ""
