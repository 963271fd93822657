"""A frame whose pixels are made only if somebody wants them, and once for all who do."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vlm_perception.types import Frame


class LazyFrame:
    """A frame that has arrived. For all threads.

    Args:
        make: Makes the frame; raises ImageError.

    Attributes:
        broken: Whether its pixels could not be made.
    """

    def __init__(self, make: Callable[[], Frame]) -> None:
        self.broken = False
        self._make = make
        self._frame: Frame | None = None
        self._reading = threading.Lock()

    def read(self) -> Frame:
        """Return the frame; made once, however many prompts and threads there are.

        Raises:
            ImageError: Its pixels cannot be made.
        """
        if self._frame is None:
            # Another thread waits for these pixels, instead of making the same once more.
            with self._reading:
                if self._frame is None:
                    try:
                        self._frame = self._make()
                    except BaseException:
                        self.broken = True
                        raise
        assert self._frame is not None
        return self._frame
