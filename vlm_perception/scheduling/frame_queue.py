"""The frames of one camera that wait for the model, and the one that it is being asked about.

A frame is begun with its first prompt. While it is owed more, it stays at hand: the engine has
read it already, so that a second prompt about it is cheap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from vlm_perception.frames.history import HistoryFrame
from vlm_perception.frames.lazy_frame import LazyFrame
from vlm_perception.types import Frame, Prompt


class PendingFrame:
    """A frame that has arrived, on its way to the model; its pixels are made only if it is answered.

    Args:
        camera: Resolved topic name.
        received_s: Arrival on the worker's clock, seconds.
        make: Makes the frame; raises ImageError.
        stamp_ns: Of its header; 0 where nobody asks by it.

    Attributes:
        owed: The prompts that are still to be asked about it, in that order; filled when it is begun.
        source: Its pixels, once for all who want them.
        before: What is kept of the frames before it, oldest first, while somebody asks about clips.
    """

    def __init__(self, camera: str, received_s: float, make: Callable[[], Frame], stamp_ns: int = 0) -> None:
        self.camera, self.received_s, self.stamp_ns = camera, received_s, stamp_ns
        self.owed: list[Prompt] = []
        self.source = LazyFrame(make)
        self.before: tuple[HistoryFrame, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether its pixels could not be made; nothing more is asked about it then."""
        return self.source.broken

    def read(self) -> Frame:
        """Return the frame; made once, however many prompts and threads there are.

        Raises:
            ImageError: Its pixels cannot be made.
        """
        return self.source.read()


class FrameQueue:
    """A bounded line of frames; when it is full, the oldest one leaves. Not thread-safe.

    With room for one frame it is a mailbox that holds the newest.

    Args:
        capacity: Most frames that wait.

    Attributes:
        begun: The frame that has been asked about and is owed more, or None.
    """

    def __init__(self, capacity: int) -> None:
        self.begun: PendingFrame | None = None
        self._capacity = capacity
        self._pending: deque[PendingFrame] = deque()

    def put(self, pending: PendingFrame) -> int:
        """Add a frame and return how many others had to leave."""
        self._pending.append(pending)
        return self._trim()

    def resize(self, capacity: int) -> int:
        """Hold at most `capacity` frames from now on; return how many had to leave."""
        self._capacity = capacity
        return self._trim()

    def peek(self) -> PendingFrame | None:
        """Return the frame that is next in line; with room for one, the newest."""
        return self._pending[0] if self._pending else None

    def pop(self) -> None:
        """Take the next frame out of the line."""
        self._pending.popleft()

    def clear(self) -> int:
        """Forget everything; return how many frames had not been begun."""
        left = len(self._pending)
        self._pending.clear()
        self.begun = None
        return left

    def _trim(self) -> int:
        surplus = max(0, len(self._pending) - self._capacity)
        for _ in range(surplus):
            self._pending.popleft()
        return surplus
