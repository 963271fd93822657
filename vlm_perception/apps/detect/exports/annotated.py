"""Annotated files: an image for every image, a video for every video."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from vlm_perception.apps.detect.exports.base import FileNames
from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.drawing.annotate import annotate
from vlm_perception.errors import OutputError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.files import usual_suffix
from vlm_perception.frames.whole_files import make_folder, whole_file
from vlm_perception.types import Result

_QUALITY = 95
# H.264 plays in browsers; some builds of FFmpeg come without its encoder.
_CODECS = ("libx264", "mpeg4")
# MPEG-4 allows no finer clock than 1/65535 s.
_CLOCK = Fraction(1, 1000)


class AnnotatedFiles:
    """Draws every answer on its picture.

    An image keeps its name and format, or becomes a JPEG where few can read its format; a video becomes
    `NAME.mp4` with the frames that were asked about, each at its own time.

    Args:
        folder: Where to; it is made.
        sources: All files that will come; none of them may lie in the folder.

    Raises:
        OutputError: The folder cannot be written to, or a source would be overwritten.
    """

    def __init__(self, folder: Path, sources: tuple[Path, ...]) -> None:
        self._folder, self._names = folder, FileNames()
        self._source: Path | None = None
        self._video: Generator[None, tuple[Pixels, float], None] | None = None
        make_folder(folder)
        inside = [path for path in sources if path.resolve().parent == folder.resolve()]
        if inside:
            raise OutputError(f"the annotated {inside[0].name} would overwrite {inside[0]}: name another folder")

    def add(self, picture: Picture, result: Result) -> None:
        """Draw one picture and write it."""
        drawn = annotate(picture.rgb, result)
        if picture.path != self._source:
            self.close()
        stem = self._names.stem(picture.path)
        if picture.frame_index is None:
            with whole_file(self._folder / f"{stem}{usual_suffix(picture.path) or '.jpg'}") as part:
                Image.fromarray(drawn).save(part, quality=_QUALITY)
            return
        if self._video is None:
            self._source, self._video = picture.path, _video_file(self._folder / f"{stem}.mp4")
            next(self._video)
        self._video.send((drawn, picture.time_s or 0.0))

    def close(self) -> tuple[str, ...]:
        """Finish the video."""
        video, self._video = self._video, None
        if video is not None:
            video.close()
        return ()


def _video_file(path: Path) -> Generator[None, tuple[Pixels, float], None]:
    """Take frames and their times, seconds, which have to grow; closing it puts the whole file in its place."""
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
        raise OutputError(f"cannot encode {path}: {error}; leave --annotated out, or annotate images") from error


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
