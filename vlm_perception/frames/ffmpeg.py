"""Video files through FFmpeg (PyAV): frames in order, and whether the file ends before it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.pictures import refuse_others

# Only these say how long they are; of others FFmpeg guesses, from rates of bits and last time stamps.
_SAY_THEIR_LENGTH = ("mov", "matroska", "asf", "flv")
# A video is damaged when more than this share of it is missing, or of its packets broken.
_LOST_SHARE = 0.1
# FFmpeg draws any text as a film of a terminal.
_NO_VIDEO = ("tty",)


@dataclass(slots=True)
class Film:
    """An open video.

    Attributes:
        rate_hz: Mean rate as recorded, or None when it is not said.
        n_frames: How many frames the file says it holds, or is estimated to; 0 when nothing is said.
    """

    rate_hz: float | None
    n_frames: float
    _path: Path
    _container: InputContainer
    _stream: VideoStream
    _end_s: float | None = None
    _longest_gap_s: float = 0.0
    _packets: int = 0
    _broken: int = 0

    def frames(self) -> Iterator[av.VideoFrame]:
        """Decode what can be decoded: a damaged packet costs its own frame only, a damaged file its end."""
        heard = [stream for stream in self._container.streams if stream.type in ("video", "audio")]
        packets = self._container.demux(heard)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                return
            if packet is None:
                return
            self._note_time(packet)
            if packet.stream.index != self._stream.index:
                continue
            self._packets += 1
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self._broken += 1
                continue
            yield from (frame for frame in frames if isinstance(frame, av.VideoFrame))

    def seek(self, time_s: float) -> None:
        """Let the next `frames` begin at or before a time, as frames carry it, where the file allows that."""
        with suppress(av.FFmpegError):
            self._container.seek(int(time_s * av.time_base))

    def damage(self, count: int) -> str:
        """Say in words what is missing, after all frames were read; empty when the file is whole.

        Args:
            count: How many frames came.
        """
        end_s, said_s = self._end_s or 0.0, self._said_s()
        # An estimated count of frames is no evidence: rates vary, and sound may go on when the picture has ended. The
        # last frame may be shown for as long as any other.
        if said_s - end_s > max(_LOST_SHARE * said_s, 2 * self._longest_gap_s):
            exact = self._stream.frames
            where = f"{count} of {exact} frames" if exact > count else f"{end_s:.1f} of {said_s:.1f} s"
            return f"{self._path} ended after {where}: it is damaged or was cut off"
        if self._broken > _LOST_SHARE * self._packets:
            return f"{self._path} is damaged: {self._broken} of {self._packets} pieces of it could not be decoded"
        return ""

    def _said_s(self) -> float:
        name = self._container.format.name
        if name == "avi" and self.rate_hz:
            # FFmpeg cuts the length to what is there, and leaves the count as it was written.
            return self._stream.frames / self.rate_hz
        return (self._container.duration or 0) / av.time_base if name.startswith(_SAY_THEIR_LENGTH) else 0.0

    def _note_time(self, packet: av.Packet[Any]) -> None:
        if packet.pts is None or packet.time_base is None:
            return
        time_s = float(packet.pts * packet.time_base)
        end_s = time_s if self._end_s is None else self._end_s
        self._longest_gap_s = max(self._longest_gap_s, time_s - end_s)
        self._end_s = max(end_s, time_s + float((packet.duration or 0) * packet.time_base))


@contextmanager
def open_film(path: Path) -> Iterator[Film]:
    """Open a video.

    Raises:
        ImageError: `undecodable`: empty, no permission, or no video.
    """
    refuse_others(path)
    try:
        # `file:`, because FFmpeg takes what stands before a colon for a protocol.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    with container:
        if container.format.name in _NO_VIDEO:
            raise unreadable(path, "it is text")
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & av.stream.Disposition.attached_pic:
            raise unreadable(path, "it has no pictures" if stream is None else "it has a cover and no moving pictures")
        stream.thread_type = "AUTO"
        rate_hz = _rate_hz(stream)
        yield Film(rate_hz, _n_frames(container, stream, rate_hz), path, container, stream)


def upright(frame: av.VideoFrame) -> Pixels:
    """Return (height, width, 3) uint8 RGB, turned as the file says."""
    rgb = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)), np.uint8)


def unreadable(path: Path, reason: str) -> ImageError:
    """Return the error of a file that is no video either."""
    return ImageError(
        f"{path} is neither an image nor a video that FFmpeg can read ({reason}): check it, or convert it to MP4 with "
        f"H.264",
        cause="undecodable",
    )


def _rate_hz(stream: VideoStream) -> float | None:
    rate_hz = float(stream.average_rate or 0.0)
    return rate_hz if 0.1 <= rate_hz <= 1000.0 else None


def _n_frames(container: InputContainer, stream: VideoStream, rate_hz: float | None) -> float:
    if stream.frames:
        return stream.frames
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base) * (rate_hz or 0.0)
    return (container.duration or 0) / av.time_base * (rate_hz or 0.0)
