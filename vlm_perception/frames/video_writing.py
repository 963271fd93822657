"""Frames as a video that plays in browsers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vlm_perception.errors import OutputError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.whole_files import whole_file

# H.264 plays in browsers; some builds of FFmpeg come without its encoder.
_CODECS = ("libx264", "mpeg4")
# MPEG-4 allows no finer clock than 1/65535 s.
_CLOCK = Fraction(1, 1000)
VideoWriter = Generator[None, tuple[Pixels, float], None]


def write_video(path: Path) -> VideoWriter:
    """Begin a video.

    Args:
        path: Where to, an MP4.

    Returns:
        What takes frames, (height, width, 3) uint8 RGB, all of one size, and their times, seconds, which have to grow;
        closing it puts the whole file in its place.

    Raises:
        OutputError: From here or when frames come: there is no encoder, or the file cannot be written.
    """
    writer = _writer(path)
    next(writer)
    return writer


def _writer(path: Path) -> VideoWriter:
    with _encoder_errors(path), whole_file(path) as part, av.open(str(part), "w") as container:
        # PyAV's stubs tell kinds of streams apart by literal codec names only.
        stream: Any = container.add_stream(_codec())
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", _CLOCK
        last_tick = -1
        with suppress(GeneratorExit):
            while True:
                rgb, time_s = yield
                frame = av.VideoFrame.from_ndarray(_even(rgb), format="rgb24")
                if last_tick < 0:
                    stream.width, stream.height = frame.width, frame.height
                last_tick = max(last_tick + 1, round(time_s / _CLOCK))
                frame.pts, frame.time_base = last_tick, _CLOCK
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@contextmanager
def _encoder_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise OutputError(f"cannot encode {path}: {error}; do without the video, or use images") from error


def _even(rgb: Pixels) -> Pixels:
    """Repeat the last row or column where a side is odd: halved colour planes need even sides."""
    height, width = rgb.shape[:2]
    return np.ascontiguousarray(np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def _codec() -> str:
    for name in _CODECS:
        try:
            return str(av.codec.Codec(name, "w").name)
        except ValueError:
            continue
    raise OutputError(f"PyAV has none of the encoders {', '.join(_CODECS)}: install PyAV's own wheel (av)")
