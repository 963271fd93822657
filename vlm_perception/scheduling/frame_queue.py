"""The frames of one camera that wait for the model, and the one that it is being asked about.

A frame is begun with its first question. While it is owed more, it stays at hand: the engine has
read it already, so that a second question about it is cheap.
"""

from __future__ import annotations

from collections import deque

from vlm_perception.types import Frame, Prompt
from vlm_perception.worker.listener import Arrival


class WaitingFrame:
    """An arrival on its way through the model.

    Attributes:
        arrival: The frame as it came.
        owed: What is still to be asked about it, in that order; filled when it is begun.
        broken: Whether its pixels could not be made; nothing more is asked about it then.
    """

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.owed: list[Prompt] = []
        self.broken = False
        self._frame: Frame | None = None

    def read(self) -> Frame:
        """Return the pixels; made once, however many questions there are.

        Raises:
            ImageError: They cannot be made.
        """
        if self._frame is None:
            self.broken = True
            self._frame = self.arrival.read()
            self.broken = False
        return self._frame


class CameraQueue:
    """A bounded line of frames; when it is full, the oldest one leaves. Not thread-safe.

    With room for one frame it is a mailbox that holds the newest.

    Args:
        capacity: Most frames that wait.

    Attributes:
        begun: The frame that has been asked something and is owed more, or None.
    """

    def __init__(self, capacity: int) -> None:
        self.begun: WaitingFrame | None = None
        self._capacity = capacity
        self._waiting: deque[WaitingFrame] = deque()

    def put(self, arrival: Arrival) -> int:
        """Add a frame and return how many others had to leave."""
        self._waiting.append(WaitingFrame(arrival))
        return self._trim()

    def resize(self, capacity: int) -> int:
        """Hold at most `capacity` frames from now on; return how many had to leave."""
        self._capacity = capacity
        return self._trim()

    def peek(self) -> WaitingFrame | None:
        """Return the frame that is next in line; with room for one, the newest."""
        return self._waiting[0] if self._waiting else None

    def pop(self) -> None:
        """Take the next frame out of the line."""
        self._waiting.popleft()

    def clear(self) -> int:
        """Forget everything; return how many frames had not been begun."""
        left = len(self._waiting)
        self._waiting.clear()
        self.begun = None
        return left

    def _trim(self) -> int:
        surplus = max(0, len(self._waiting) - self._capacity)
        for _ in range(surplus):
            self._waiting.popleft()
        return surplus
