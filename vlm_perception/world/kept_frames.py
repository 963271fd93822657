"""The last frames of a camera, kept small: what an answer's objects are carried through when it comes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.types import Frame

# 104 frames of 1280x720: 3.5 s of every frame at 30 Hz, and longer with gaps.
MOST_BYTES = 24_000_000
_LONG_SIDE = 640
# The newest frames have no gaps: answers are mostly about these.
_NEWEST = 30
# Motion across more than this is often lost.
_WIDEST_GAP_S = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class KeptFrame:
    """One frame, small.

    Attributes:
        received_s: The frame's arrival, monotonic seconds.
        rgb: (h, w, 3) uint8.
        grey: (h, w) uint8.
        scale: Width of the frame over that of `rgb`; a power of two.
    """

    received_s: float
    rgb: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    scale: float

    @property
    def n_bytes(self) -> int:
        """What it occupies."""
        return self.rgb.nbytes + self.grey.nbytes


def shrink(frame: Frame) -> KeptFrame:
    """Make a frame small by exact halves, which cost a third of one direct reduction, until no side has 640 pixels."""
    rgb, scale = frame.rgb, 1.0
    while max(rgb.shape[:2]) >= _LONG_SIDE and min(rgb.shape[:2]) > 1:
        height, width = rgb.shape[0] // 2 * 2, rgb.shape[1] // 2 * 2
        halved = cv2.resize(rgb[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        rgb, scale = halved.astype(np.uint8, copy=False), scale * 2.0
    if rgb is frame.rgb:
        rgb = rgb.copy()
    return KeptFrame(frame.received_s, rgb, np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8), scale)


class KeptFrames:
    """A camera's last frames within `MOST_BYTES`; where they do not fit, the older ones are thinned."""

    def __init__(self) -> None:
        # Replaced as a whole, so that a catch-up reads it without a lock.
        self.frames: tuple[KeptFrame, ...] = ()
        self._asked_s: list[float] = []

    def add(self, frame: KeptFrame) -> None:
        """Take the newest frame."""
        self.frames = (*self.frames, frame)
        while len(self.frames) > 2 and sum(each.n_bytes for each in self.frames) > MOST_BYTES:
            self._thin()

    def ask(self, received_s: float) -> None:
        """Keep this frame whatever is thinned, because the model has it now."""
        self._asked_s = [*self._asked_s[-15:], received_s]

    def at(self, received_s: float) -> KeptFrame | None:
        """Give the frame that came then; None where it is not kept."""
        return next((each for each in self.frames if each.received_s == received_s), None)

    def after(self, received_s: float, within_s: float) -> KeptFrame | None:
        """Give the latest of those that came within this time after, or else the next; None where there is none."""
        later = [each for each in self.frames if each.received_s > received_s]
        near = [each for each in later if each.received_s <= received_s + within_s]
        return near[-1] if near else later[0] if later else None

    def clear(self) -> None:
        """Forget all of them."""
        self.frames = ()

    def _thin(self) -> None:
        """Drop the older frame whose absence leaves the smallest gap for its age, or the oldest frame."""
        frames = self.frames
        now_s = frames[-1].received_s

        def gap_s(index: int) -> float:
            return frames[index + 1].received_s - frames[index - 1].received_s

        droppable = [
            index
            for index in range(1, len(frames) - _NEWEST)
            if gap_s(index) <= _WIDEST_GAP_S and frames[index].received_s not in self._asked_s
        ]
        drop = min(droppable, key=lambda index: gap_s(index) / (now_s - frames[index].received_s), default=0)
        self.frames = frames[:drop] + frames[drop + 1 :]
