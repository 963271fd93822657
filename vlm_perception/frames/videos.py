"""Frames of whatever moves, with their times: videos through FFmpeg; animations and pages through Pillow."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.ffmpeg import Film, open_film, unreadable, upright
from vlm_perception.frames.pictures import count_frames, read_frames, rgb_of
from vlm_perception.frames.signatures import signature_of


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
# Time stamps are fractions that no decimal number meets.
_ROUNDING_S = 1e-4

Note = Callable[[str], object]
_T = TypeVar("_T")
# The time of a frame, seconds, and what makes its pixels, so that those of frames nobody wants are not made.
_Frames = Iterator[tuple[float, Callable[[], Pixels]]]


def read_video(
    path: Path, thinning: Thinning = ALL_FRAMES, note: Note = lambda text: None
) -> Generator[VideoFrame, None, None]:
    """Read the frames of a video, an animation or a document one at a time; the file is closed with the generator.

    Args:
        path: A video, an animated GIF, WebP, PNG or AVIF, or a TIFF of several pages (one a second).
        thinning: Which frames are wanted.
        note: Told in words when the video ends early.

    Raises:
        ImageError: `undecodable`: empty, no permission, no video, or not one frame of it can be decoded.
    """
    frames = _image_frames(path, note) if _is_image(path) else _film_frames(path, note)
    for index, time_s, pixels in thinned(frames, thinning):
        yield VideoFrame(pixels(), index, time_s)


def thinned(frames: Iterable[tuple[float, _T]], thinning: Thinning) -> Generator[tuple[int, float, _T], None, None]:
    """Choose the frames that are wanted.

    Args:
        frames: The time of each, seconds from the first, which rises, and what makes it.
        thinning: Which are wanted.

    Yields:
        Number, from 0, time and maker of each.
    """
    chooser = Chooser(thinning)
    for index, (time_s, frame) in enumerate(frames):
        if chooser.wants(index, time_s):
            yield index, time_s, frame
        if chooser.is_done:
            return


class Chooser:
    """Chooses the frames that are wanted, one after the other.

    Args:
        thinning: Which are.
    """

    def __init__(self, thinning: Thinning) -> None:
        self._thinning = thinning
        self._taken, self._due_s = 0, 0.0

    @property
    def is_done(self) -> bool:
        """Whether no frame is wanted any more."""
        return self._taken == self._thinning.max_frames

    def wants(self, index: int, time_s: float) -> bool:
        """Whether this frame is wanted.

        Args:
            index: Its number, from 0.
            time_s: Its time, seconds from the first, which rises.
        """
        rate_hz = self._thinning.rate_hz
        if self.is_done or index % self._thinning.every or (rate_hz is not None and time_s < self._due_s - 1e-6):
            return False
        self._taken += 1
        if rate_hz is not None:
            self._due_s = _next_due_s(self._due_s, time_s, rate_hz)
        return True


def frame_at(path: Path, time_s: float) -> Pixels:
    """Read the frame that is shown at a time, without decoding all that are before it where the file allows that.

    Args:
        path: As for `read_video`.
        time_s: Time after the first frame, seconds; the last frame stays shown after the end.

    Returns:
        (height, width, 3) uint8 RGB, upright.

    Raises:
        ImageError: As `read_video`.
    """
    rgb = None if _is_image(path) else _film_frame_at(path, time_s)
    if rgb is None:
        # The first frame is always shown.
        for frame in read_video(path):
            if rgb is not None and frame.time_s > time_s + _ROUNDING_S:
                break
            rgb = frame.rgb
    assert rgb is not None
    return rgb


def video_length_s(path: Path) -> float:
    """Estimate how long a video is, from its frames and their rate; 0 when it says neither.

    Raises:
        ImageError: As `read_video`.
    """
    rate_hz = video_rate_hz(path)
    return expected_frames(path, ALL_FRAMES) / rate_hz if rate_hz else 0.0


def video_rate_hz(path: Path) -> float | None:
    """The mean rate a video was recorded at, or that of an animation's beginning; None when it does not say.

    Raises:
        ImageError: As `read_video`.
    """
    if _is_image(path):
        return 1.0 / next(shown_s for _, shown_s in read_frames(path))
    with open_film(path) as film:
        return film.rate_hz


def expected_frames(path: Path, thinning: Thinning) -> int:
    """Estimate how many frames `read_video` gives; 1 for a file that is none of a video."""
    try:
        if _is_image(path):
            count, rate_hz = float(count_frames(path)), video_rate_hz(path)
        else:
            with open_film(path) as film:
                count, rate_hz = film.n_frames, film.rate_hz
    except ImageError:
        return 1
    return thinned_count(count, rate_hz, thinning)


def thinned_count(count: float, rate_hz: float | None, thinning: Thinning) -> int:
    """Estimate how many of `count` frames, recorded at `rate_hz` (None: not known), `thinned` gives; at least 1."""
    expected = ceil(max(1.0, count) / thinning.every)
    if thinning.rate_hz is not None and rate_hz:
        expected = min(expected, ceil(count / rate_hz * thinning.rate_hz))
    return expected if thinning.max_frames is None else min(expected, thinning.max_frames)


def _is_image(path: Path) -> bool:
    signature = signature_of(path)
    return signature is not None and signature.medium == "image"


def _film_frames(path: Path, note: Note) -> _Frames:
    with open_film(path) as film:
        count = 0
        for index, (time_s, frame) in enumerate(_timed(film)):
            count = index + 1
            yield time_s, partial(upright, frame)
        if not count:
            raise unreadable(path, "not one frame can be decoded")
        if damage := film.damage(count):
            note(damage)


def _film_frame_at(path: Path, time_s: float) -> Pixels | None:
    """Seek; None for a file whose frames carry no times to look for."""
    with open_film(path) as film:
        shown = next(film.frames(), None)
        if shown is None or shown.time is None:
            return None
        due_s = shown.time + time_s + _ROUNDING_S
        film.seek(due_s)
        for frame in film.frames():
            if frame.time is None or frame.time > due_s:
                break
            shown = frame
        return upright(shown)


def _timed(film: Film) -> Iterator[tuple[float, Any]]:
    start_s = 0.0
    for index, frame in enumerate(film.frames()):
        # Not every container carries time stamps, and some begin far from 0.
        raw_s = frame.time if frame.time is not None else start_s + index / (film.rate_hz or 1.0)
        start_s = start_s if index else raw_s
        yield round(max(0.0, raw_s - start_s), 6), frame


def _image_frames(path: Path, note: Note) -> _Frames:
    time_s, count = 0.0, 0
    try:
        for image, shown_s in read_frames(path):
            yield round(time_s, 6), partial(rgb_of, path, image)
            time_s, count = time_s + shown_s, count + 1
    except ImageError:
        if not count:
            raise
        note(f"{path} ended after {count} of {count_frames(path)} frames: it is damaged or was cut off")


def _next_due_s(due_s: float, time_s: float, rate_hz: float) -> float:
    """Keep the beat, so that 10 Hz out of 29.97 Hz does not drift; after a gap begin anew."""
    step_s = 1 / rate_hz
    return due_s + step_s if time_s < due_s + step_s else time_s + step_s
