"""How long the model may take for an answer, how long it has been asked, and whether it hangs. No ROS, no model."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_perception.scheduling.rate import Clock

# A pass that is under way when the time is over may end first; on a slow machine that takes a while.
_GRACE_SHARE = 0.1
_LEAST_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class RunningPass:
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
    """Measures one pass of the model. Used by the thread that asks; `now` by any.

    Args:
        timeout_s: What one answer may take, seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, timeout_s: float, clock: Clock) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        self._began_s = self._last_start_s = clock()

    def now(self) -> RunningPass:
        """Tell how far it is."""
        now_s = self._clock()
        return RunningPass(now_s - self._began_s, now_s - self._last_start_s - self._timeout_s, self._timeout_s)

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

    Its time counts from the first look, with which the model begins with the prompt: a prompt
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


@dataclass(frozen=True, slots=True)
class Hang:
    """A model that does not come back.

    Attributes:
        text: What to tell, with the remedy.
        is_new: Whether this is the first look that finds it.
        must_end: Whether the process has hung for so long that it should end.
    """

    text: str
    is_new: bool
    must_end: bool


class HangWatch:
    """Finds a model that hangs: its time is long over, and it does not even ask whether to stop.

    Looks again and again, from one thread.
    """

    def __init__(self) -> None:
        self._is_hanging = False

    def look(self, running: RunningPass | None, exit_s: float) -> Hang | None:
        """Look once.

        Args:
            running: The pass that the model is in; None when it is not asked.
            exit_s: End the process after so many seconds beyond the time-out; 0 for never.

        Returns:
            The hang, or None when there is none (any more).
        """
        was_hanging, self._is_hanging = self._is_hanging, False
        if running is None:
            return None
        grace_s = max(_LEAST_GRACE_S, _GRACE_SHARE * running.timeout_s)
        must_end = 0 < exit_s < running.overdue_s
        if not must_end and running.overdue_s <= grace_s:
            return None
        self._is_hanging = True
        text = (
            f"the model has not come back for {running.asking_s:.1f} s and does not stop, though timeout_s is "
            f"{running.timeout_s:g}; restart the node, or set hang_exit_s and respawn"
        )
        return Hang(text, not was_hanging, must_end)
