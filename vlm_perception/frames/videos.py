"""Frames of a video with their times, upright, read by FFmpeg through PyAV."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels

# Containers only estimate how many frames they hold; a video that ends this much earlier is damaged.
_WHOLE_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a video.

    Attributes:
        rgb: (height, width, 3) uint8 RGB, turned upright as the file says.
        index: Its number in the video, from 0.
        time_s: Its time after the first frame, seconds.
    """

    rgb: Pixels
    index: int
    time_s: float


@dataclass(frozen=True, slots=True)
class Thinning:
    """Which frames of a video are wanted.

    Attributes:
        every: Each frame whose number is a multiple of this.
        rate_hz: At most so many frames a second of the video; None keeps all.
        max_frames: At most so many frames of one video; None keeps all.
    """

    every: int = 1
    rate_hz: float | None = None
    max_frames: int | None = None


ALL_FRAMES = Thinning()


def read_video(
    path: Path, thinning: Thinning = ALL_FRAMES, note: Callable[[str], object] = lambda text: None
) -> Generator[VideoFrame, None, None]:
    """Read a video's frames one at a time; the file is closed with the generator.

    Args:
        path: The video.
        thinning: Which frames are wanted.
        note: Told in words when the video ends early.

    Raises:
        ImageError: `undecodable`: no permission, no video, or not one frame of it can be decoded.
    """
    with _opened(path) as (container, stream):
        expected = _n_frames(stream)
        count, taken, due_s, start_s = 0, 0, 0.0, 0.0
        for index, frame in enumerate(_decoded(container, stream)):
            count = index + 1
            # Not every container carries time stamps, and some begin far from 0.
            raw_s = frame.time if frame.time is not None else start_s + index / (_rate_hz(stream) or 1.0)
            start_s = start_s if index else raw_s
            time_s = round(max(0.0, raw_s - start_s), 6)
            if index % thinning.every or (thinning.rate_hz is not None and time_s < due_s - 1e-6):
                continue
            yield VideoFrame(_upright(frame), index, time_s)
            taken += 1
            if taken == thinning.max_frames:
                return
            if thinning.rate_hz is not None:
                due_s = _next_due_s(due_s, time_s, thinning.rate_hz)
    if not count:
        raise _unreadable(path, "not one frame can be decoded")
    if count < expected * _WHOLE_SHARE:
        note(f"{path} ended after {count} of {expected:.0f} frames: it is damaged or was cut off")


def video_rate_hz(path: Path) -> float | None:
    """The mean rate a video was recorded at, or None when it does not say.

    Raises:
        ImageError: As `read_video`.
    """
    with _opened(path) as (_, stream):
        return _rate_hz(stream)


def expected_frames(path: Path, thinning: Thinning) -> int:
    """Estimate how many frames `read_video` gives; 1 for a file that is none of a video."""
    try:
        with _opened(path) as (_, stream):
            count, rate_hz = _n_frames(stream), _rate_hz(stream)
    except ImageError:
        return 1
    expected = ceil(max(1.0, count) / thinning.every)
    if thinning.rate_hz is not None and rate_hz:
        expected = min(expected, ceil(count / rate_hz * thinning.rate_hz))
    return expected if thinning.max_frames is None else min(expected, thinning.max_frames)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        # `file:`, because FFmpeg takes what stands before a colon for a protocol.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    with container:
        if not container.streams.video:
            raise _unreadable(path, "it has no pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Decode what can be decoded: a damaged packet costs its own frame only, a damaged file its end."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from (frame for frame in frames if isinstance(frame, av.VideoFrame))


def _upright(frame: av.VideoFrame) -> Pixels:
    rgb = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)), np.uint8)


def _rate_hz(stream: VideoStream) -> float | None:
    rate_hz = float(stream.average_rate or 0.0)
    return rate_hz if 0.1 <= rate_hz <= 1000.0 else None


def _n_frames(stream: VideoStream) -> float:
    """How many frames the file says it holds; 0 when it does not say."""
    if stream.frames or stream.duration is None or stream.time_base is None:
        return stream.frames
    return float(stream.duration * stream.time_base) * (_rate_hz(stream) or 0.0)


def _next_due_s(due_s: float, time_s: float, rate_hz: float) -> float:
    """Keep the beat, so that 10 Hz out of 29.97 Hz does not drift; after a gap begin anew."""
    step_s = 1 / rate_hz
    return due_s + step_s if time_s < due_s + step_s else time_s + step_s


def _unreadable(path: Path, reason: str) -> ImageError:
    return ImageError(
        f"{path} is neither an image nor a video that FFmpeg can read ({reason}): check it, or convert it to MP4 with "
        f"H.264",
        cause="undecodable",
    )
