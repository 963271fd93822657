"""The frames of the last seconds of each camera, and a clip of what led to one of them.

A frame is kept as it came, and read and made small when it is first looked at: whoever asks often keeps small frames
alone, and whoever never asks reads none.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.lazy_frame import LazyFrame
from vlm_perception.types import WH, Clip, Frame

OnUnreadable = Callable[[ImageError], None]

# Stamps jitter, and those of a recording run faster than the clock at times.
_WINDOW_SLACK = 1.1


class HistoryFrame:
    """One frame that is kept. For all threads.

    Args:
        received_s: Its arrival, monotonic seconds.
        source: The frame as it came; let go of when it is read.
        least_px: It is made no smaller than this area.
    """

    def __init__(self, received_s: float, source: LazyFrame, least_px: int) -> None:
        self.received_s = received_s
        self._source: LazyFrame | None = source
        self._least_px = least_px
        self._read: tuple[Frame, WH] | None = None
        self._reading = threading.Lock()

    def read(self, on_unreadable: OnUnreadable) -> tuple[Frame, WH] | None:
        """Return the frame, small, and the size in which it came; None where it cannot be read, which is told once."""
        with self._reading:
            if self._source is not None:
                source, self._source = self._source, None
                try:
                    frame = source.read()
                except ImageError as error:
                    on_unreadable(error)
                else:
                    small = Frame(halved(frame.rgb, self._least_px), frame.header, frame.camera, frame.received_s)
                    self._read = small, frame.image_wh
            return self._read


class FrameHistory:
    """The frames of one camera. `add` on one thread; what it returned may be read on all.

    Args:
        window_s: How far back it goes.
        rate_hz: Most frames a second.
        least_px: See `HistoryFrame`.
    """

    def __init__(self, window_s: float, rate_hz: float, least_px: int) -> None:
        self._window_s, self._period_s, self._least_px = window_s, 1.0 / rate_hz, least_px
        self._due_s = -math.inf
        self._frames: deque[HistoryFrame] = deque()

    def add(self, received_s: float, source: LazyFrame) -> tuple[HistoryFrame, ...]:
        """Take the newest frame if it is time for one, and return what is kept of those before it, oldest first."""
        while self._frames and received_s - self._frames[0].received_s > self._window_s:
            self._frames.popleft()
        before = tuple(self._frames)
        if received_s >= self._due_s - 1e-6:
            # On the beat, so that 2 Hz of 30 Hz does not drift; after a gap anew.
            on_beat_s = self._due_s + self._period_s
            self._due_s = on_beat_s if on_beat_s > received_s else received_s + self._period_s
            self._frames.append(HistoryFrame(received_s, source, self._least_px))
        return before


class FrameHistories:
    """The histories of several cameras, while somebody wants them. `offer` on one thread, `use` on any."""

    def __init__(self) -> None:
        # Replaced as a whole.
        self._histories: dict[str, FrameHistory] = {}
        self._shape: tuple[float, float, int] | None = None

    def use(self, cameras: Sequence[str], window_s: float, rate_hz: float, least_px: int) -> None:
        """Keep frames of these cameras from now on, none of others; other sizes than before begin anew."""
        shape = (window_s, rate_hz, least_px)
        kept = self._histories if shape == self._shape else {}
        self._shape = shape
        self._histories = {camera: kept.get(camera) or FrameHistory(*shape) for camera in cameras}

    def offer(self, camera: str, received_s: float, source: LazyFrame) -> tuple[HistoryFrame, ...]:
        """Take a new frame; return what is kept of those before it, nothing where nobody wants them."""
        history = self._histories.get(camera)
        return () if history is None else history.add(received_s, source)


def clip_of(
    before: Sequence[HistoryFrame], frame: Frame, window_s: float, on_unreadable: OnUnreadable = lambda _: None
) -> Clip:
    """Make a clip of a frame and those before it.

    Times are those of the camera's stamps; where these do not go on, those of arrival. What does not belong together is
    left out: frames before one of another size, or before stamps jumped, as when a recording begins again.

    Args:
        before: Oldest first.
        frame: The last frame.
        window_s: How far back it goes by the stamps.
        on_unreadable: Told of a frame that cannot be read, which is left out.
    """
    frames = [frame]
    for each in reversed(before):
        read = each.read(on_unreadable)
        if read is None:
            continue
        small, image_wh = read
        if image_wh != frame.image_wh:
            break
        frames.append(small)
    by_stamp = len(frames) == 1 or frames[0].header.stamp_ns != frames[1].header.stamp_ns
    times_ns = [each.header.stamp_ns if by_stamp else round(each.received_s * 1e9) for each in frames]
    length, earliest_ns = 1, times_ns[0] - window_s * _WINDOW_SLACK * 1e9
    while length < len(frames) and earliest_ns <= times_ns[length] < times_ns[length - 1]:
        length += 1
    taken, first_ns = frames[:length][::-1], times_ns[length - 1]
    return Clip(tuple(taken), tuple((time_ns - first_ns) * 1e-9 for time_ns in times_ns[:length][::-1]))


def halved(rgb: Pixels, least_px: int) -> Pixels:
    """Make pixels fewer by exact halves as long as `least_px` of them are left; always a copy.

    Args:
        rgb: (height, width, 3) uint8.
        least_px: The smallest area.
    """
    height, width = rgb.shape[:2]
    small = rgb
    while min(height, width) > 1 and (height // 2) * (width // 2) >= least_px:
        height, width = height // 2, width // 2
        resized = cv2.resize(small[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        small = np.asarray(resized, np.uint8)
    return small.copy() if small is rgb else small
