"""A video as one clip: frames of all of it, with their own times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlm_perception.frames.history import halved
from vlm_perception.frames.videos import ALL_FRAMES, Thinning, expected_frames, read_video, video_rate_hz
from vlm_perception.types import Clip, Frame

# Qwen's own rule begins with four.
_FEWEST_FRAMES = 4


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
    frames: list[Frame] = []
    times_s: list[float] = []
    index = 0
    for each in read_video(path, _thinning(path, watching), note):
        if frames and times_s[-1] >= each.time_s:
            continue
        if frames:
            frames[-1] = Frame(halved(frames[-1].rgb, watching.least_px), camera=str(path), received_s=times_s[-1])
        frames.append(Frame(each.rgb, camera=str(path), received_s=each.time_s))
        times_s.append(each.time_s)
        index = each.index
    return Clip(tuple(frames), tuple(time_s - times_s[0] for time_s in times_s)), index


def _thinning(path: Path, watching: FilmSampling) -> Thinning:
    count, rate_hz = expected_frames(path, ALL_FRAMES), video_rate_hz(path)
    if not rate_hz or count < _FEWEST_FRAMES:
        return Thinning(rate_hz=watching.rate_hz, max_frames=watching.max_frames)
    # Imported late: it takes as long as torch does.
    from qwen_vl_utils.vision_process import smart_nframes

    limits = {"min_frames": min(_FEWEST_FRAMES, watching.max_frames), "max_frames": min(watching.max_frames, count)}
    wanted = smart_nframes({"fps": min(watching.rate_hz, rate_hz), **limits}, total_frames=count, video_fps=rate_hz)
    return Thinning(rate_hz=wanted * rate_hz / count, max_frames=watching.max_frames)
