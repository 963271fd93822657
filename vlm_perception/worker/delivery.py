"""What may be delivered of the turns that are on their way, and in which order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from vlm_perception.scheduling.scheduler import Scheduler
from vlm_perception.scheduling.turns import Turn


class Delivery:
    """Decides at the last moment whether something of a turn is published. For all threads that answer.

    Under `every` the answers of a camera are told in the order of its frames, so that one may have to wait for those
    before it. Else an answer is told at once, and those to the same prompt about earlier frames are over. Parts
    are told of the earliest alone, so that no frame is followed by an earlier one.

    Args:
        scheduler: Knows the turns that are on their way.
        changed: Guards it, and is told of every change.

    Attributes:
        lock: Held while something is published; no turn becomes `over` meanwhile. Taken before `changed`.
    """

    def __init__(self, scheduler: Scheduler, changed: threading.Condition) -> None:
        # Reentrant: who publishes may ask something else.
        self.lock: AbstractContextManager[object] = threading.RLock()
        self._scheduler, self._changed = scheduler, changed

    def wait(self, turn: Turn) -> None:
        """Wait until a whole answer may be told, or is not wanted any more; the lock not held."""
        with self._changed:
            self._changed.wait_for(lambda: turn.over is not None or not self._scheduler.must_wait(turn))

    def claim(self, turn: Turn, partial: bool) -> bool:
        """Take it that the answer, or the part that is there, is told now; False when it must not be."""
        with self.lock, self._changed:
            if turn.over is not None or (partial and not self._scheduler.is_first(turn)):
                return False
            if not partial:
                self._scheduler.overtake(turn)
            return True

    def publish(self, turn: Turn, publish: Callable[[], None]) -> bool:
        """See `WorkerListener.on_result`."""
        with self.lock:
            if turn.over is not None:
                return False
            publish()
            return True
