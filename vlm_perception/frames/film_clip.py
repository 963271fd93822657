"""A video or bag as one clip: frames of all of it, with their own times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_perception.errors import ImageError
from vlm_perception.frames.history import halved
from vlm_perception.frames.videos import ALL_FRAMES, Thinning, expected_frames, read_video, video_rate_hz
from vlm_perception.settings import Settings
from vlm_perception.types import Clip, Frame

if TYPE_CHECKING:
    from vlm_perception.frames.bags import Bag, BagImage

# Qwen's own rule begins with four.
_FEWEST_FRAMES, _MOST_FRAMES = 4, 64


@dataclass(frozen=True, slots=True)
class FilmSampling:
    """How a video is looked at as a whole.

    Attributes:
        rate_hz: Most frames a second.
        max_frames: Most frames; of a longer video they are farther apart.
        least_px: Frames are kept no smaller than this area.
    """

    rate_hz: float
    max_frames: int
    least_px: int

    @classmethod
    def of(cls, settings: Settings, rate_hz: float | None = None, max_frames: int | None = None) -> FilmSampling:
        """Look at a film as settings have it.

        Args:
            settings: Rate and pixels.
            rate_hz: Instead of theirs.
            max_frames: Instead of 64.
        """
        most = max_frames or _MOST_FRAMES
        return cls(rate_hz or settings.watch_rate_hz, most, settings.watch_budget(settings.budget, most).max_pixels)


def watch_film(path: Path, watching: FilmSampling, note: Callable[[str], object] = lambda _: None) -> tuple[Clip, int]:
    """Read frames of a whole video, evenly spread over it.

    How many is Qwen's own rule, by `qwen_vl_utils`; its readers are not used: they decode by torchcodec, decord or a
    part of torchvision that is no more, and tell one spacing instead of each frame's time.

    Args:
        path: As for `read_video`.
        watching: How many frames.
        note: Told in words when the video ends early.

    Returns:
        The clip, and the number of its last frame in the video.

    Raises:
        ImageError: As `read_video`.
    """
    thinning = _thinning(expected_frames(path, ALL_FRAMES), video_rate_hz(path), watching)
    read = (
        (each.index, Frame(each.rgb, camera=str(path), received_s=each.time_s))
        for each in read_video(path, thinning, note)
    )
    return _clip_of(read, watching)


def watch_bag(bag: Bag, topic: str, watching: FilmSampling, note: Callable[[str], object]) -> tuple[Clip, int, int]:
    """Read images of all of a bag, as `watch_film` reads a video.

    Args:
        bag: An open one.
        topic: Its camera.
        watching: How many frames.
        note: Told in words of each image that cannot be read.

    Returns:
        The clip, whose times are those of the stamps, or of the recording where the first image has none, the number
        of its last image on the topic, and when that was recorded, nanoseconds.

    Raises:
        ImageError: `no_images`: none can be read.
    """
    thinning = _thinning(bag.topics[topic].count, bag.rate_hz(topic), watching)
    recorded_ns: dict[int, int] = {}
    clip, index = _clip_of(_stamped(bag.images(topic, thinning), recorded_ns, note), watching)
    if not clip.frames:
        raise ImageError(f"none of the images on {topic} can be read: record them anew", cause="no_images")
    return clip, index, recorded_ns[index]


def _stamped(
    images: Iterable[BagImage], recorded_ns: dict[int, int], note: Callable[[str], object]
) -> Iterator[tuple[int, Frame]]:
    stamped: bool | None = None
    for image in images:
        try:
            frame = image.read()
        except ImageError as error:
            note(f"image {image.index} of {error}")
            continue
        stamp_s = frame.header.stamp_sec + frame.header.stamp_nanosec * 1e-9
        stamped = stamp_s > 0 if stamped is None else stamped
        recorded_ns[image.index] = image.recorded_ns
        yield image.index, replace(frame, received_s=stamp_s if stamped else image.time_s)


def _clip_of(read: Iterable[tuple[int, Frame]], watching: FilmSampling) -> tuple[Clip, int]:
    """Put frames together by `received_s`, all but the last made small; one that is no later is left out."""
    frames: list[Frame] = []
    last = 0
    for index, frame in read:
        if frames and frames[-1].received_s >= frame.received_s:
            continue
        if frames:
            frames[-1] = replace(frames[-1], rgb=halved(frames[-1].rgb, watching.least_px))
        frames.append(frame)
        last = index
    times_s = tuple(each.received_s - frames[0].received_s for each in frames)
    # As if a camera had just shown it: what asks for a frame's age compares with the clock of this machine.
    first_s = time.monotonic() - (times_s[-1] if times_s else 0.0)
    shown = (replace(frame, received_s=first_s + time_s) for frame, time_s in zip(frames, times_s, strict=True))
    return Clip(tuple(shown), times_s), last


def _thinning(count: int, rate_hz: float | None, watching: FilmSampling) -> Thinning:
    if not rate_hz or count < _FEWEST_FRAMES:
        return Thinning(rate_hz=watching.rate_hz, max_frames=watching.max_frames)
    # Imported late: it takes as long as torch does.
    from qwen_vl_utils.vision_process import smart_nframes

    limits = {"min_frames": min(_FEWEST_FRAMES, watching.max_frames), "max_frames": min(watching.max_frames, count)}
    wanted = smart_nframes({"fps": min(watching.rate_hz, rate_hz), **limits}, total_frames=count, video_fps=rate_hz)
    return Thinning(rate_hz=wanted * rate_hz / count, max_frames=watching.max_frames)
