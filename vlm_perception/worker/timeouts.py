"""How long the model may take for an answer, and how long it has been asked. No ROS, no model."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_perception.scheduling.rate import Clock


@dataclass(frozen=True, slots=True)
class Running:
    """The pass that the model is in.

    Attributes:
        asking_s: Seconds since it was asked.
        overdue_s: Seconds since it should have ended; negative while there is time.
        timeout_s: What one answer may take, seconds.
    """

    asking_s: float
    overdue_s: float
    timeout_s: float


class PassClock:
    """Measures one pass of the model. Used by the worker's thread; `now` by any.

    Args:
        timeout_s: What one answer may take, seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, timeout_s: float, clock: Clock) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        self._began_s = self._last_start_s = clock()

    def now(self) -> Running:
        """Tell how far it is."""
        now_s = self._clock()
        return Running(now_s - self._began_s, now_s - self._last_start_s - self._timeout_s, self._timeout_s)

    def deadline(self) -> Deadline:
        """Make the deadline of one answer of this pass."""
        return Deadline(self)

    def start(self) -> float:
        """Note that the model begins with an answer; returns when its time is over."""
        self._last_start_s = self._clock()
        return self._last_start_s + self._timeout_s

    def is_after(self, time_s: float) -> bool:
        """Whether a moment of the clock has passed."""
        return self._clock() > time_s


class Deadline:
    """When one answer has to end.

    Its time counts from the first look, with which the model begins with the question: a question
    that is read behind others of the same pass has as long as they have.
    """

    def __init__(self, clock: PassClock) -> None:
        self._clock = clock
        self._ends_s: float | None = None
        self.has_passed = False

    def look(self) -> bool:
        """Whether the time is over; once true, `has_passed` says that somebody was told so."""
        if self._ends_s is None:
            self._ends_s = self._clock.start()
        self.has_passed = self.has_passed or self._clock.is_after(self._ends_s)
        return self.has_passed
