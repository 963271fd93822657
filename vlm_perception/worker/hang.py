"""Whether the model hangs: it was asked, its time is long over, and it does not even ask whether to stop. No ROS."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_perception.worker.timeouts import Running

# A pass that is under way when the time is over may end first; on a slow machine that takes a while.
_GRACE_SHARE = 0.1
_LEAST_GRACE_S = 1.0


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
    """Looks again and again, from one thread."""

    def __init__(self) -> None:
        self._is_hanging = False

    def look(self, running: Running | None, exit_s: float) -> Hang | None:
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
