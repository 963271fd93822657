"""Which calibration belongs to which answered frame, without ROS.

A camera sends its calibration (`sensor_msgs/CameraInfo`) beside every image, with the image's own
stamp. Either may come first, and an answer comes seconds later or before the calibration does.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
V = TypeVar("V")
Stamp = tuple[int, int]

# 34 s at 30 Hz, longer than a frame is on its way through the model; about 1 kB each.
KEPT_STAMPS = 1024


class StampPairs(Generic[T]):
    """Pairs what the camera sent with the frames that were answered, each once.

    What is repeated under a stamp (a bag that starts again, a camera that stamps everything with
    zero) replaces what was there. Not thread-safe.

    Args:
        kept: How many stamps are remembered, the oldest go first.
    """

    def __init__(self, kept: int = KEPT_STAMPS) -> None:
        self._kept = kept
        # Stamps whose answer was out before the item came, in order; dictionaries keep theirs.
        self._wanted: dict[Stamp, None] = {}
        self._items: dict[Stamp, T] = {}
        self._given: dict[Stamp, None] = {}

    def arrived(self, stamp: Stamp, item: T) -> T | None:
        """Keep an item; returns it when its frame has been answered already."""
        if stamp in self._wanted:
            del self._wanted[stamp]
            self._remember(self._given, stamp, None)
            return item
        self._remember(self._items, stamp, item)
        return None

    def take(self, stamp: Stamp) -> T | None:
        """Return the item of an answered frame; without one it is handed out by `arrived` later.

        A frame that is answered again, in parts or for another prompt, gets nothing more.
        """
        if stamp in self._items:
            self._remember(self._given, stamp, None)
            return self._items.pop(stamp)
        if stamp not in self._given:
            self._remember(self._wanted, stamp, None)
        return None

    def _remember(self, entries: dict[Stamp, V], stamp: Stamp, value: V) -> None:
        entries.pop(stamp, None)
        entries[stamp] = value
        if len(entries) > self._kept:
            del entries[next(iter(entries))]
