"""Annotated files: an image for every image, a video for every video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from vlm_perception.apps.detect.exports.base import FileNames, PartFile, disk_errors, make_folder, whole_file
from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.drawing.annotate import annotate
from vlm_perception.errors import OutputError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.files import is_video
from vlm_perception.types import Result

_QUALITY = 95
# H.264 plays in browsers; some builds of FFmpeg come without its encoder.
_CODECS = ("libx264", "mpeg4")
# MPEG-4 allows no finer clock than 1/65535 s.
_CLOCK = Fraction(1, 1000)


class AnnotatedFiles:
    """Draws every answer on its picture.

    An image keeps its name and format; a video becomes `NAME.mp4` with the frames that were asked
    about, each at its own time.

    Args:
        folder: Where to; it is made.
        sources: All files that will come; none of them may lie in the folder.

    Raises:
        OutputError: The folder cannot be written to, or a source would be overwritten.
    """

    def __init__(self, folder: Path, sources: tuple[Path, ...]) -> None:
        self._folder, self._names = folder, FileNames()
        self._video: _VideoFile | None = None
        make_folder(folder)
        inside = [path for path in sources if path.resolve().parent == folder.resolve()]
        if inside:
            raise OutputError(f"the annotated {inside[0].name} would overwrite {inside[0]}: name another folder")

    def add(self, picture: Picture, result: Result) -> None:
        """Draw one picture and write it."""
        drawn = annotate(picture.rgb, result)
        if not is_video(picture.path):
            self._end_video()
            path = self._folder / f"{self._names.stem(picture.path)}{picture.path.suffix}"
            with whole_file(path) as part:
                Image.fromarray(drawn).save(part, quality=_QUALITY)
            return
        path = self._folder / f"{self._names.stem(picture.path)}.mp4"
        if self._video is None or self._video.path != path:
            self._end_video()
            self._video = _VideoFile(path, drawn)
        video, self._video = self._video, None
        video.write(drawn, picture.time_s or 0.0)
        # Only one that could be written to is finished later.
        self._video = video

    def fail(self, failure: Failure) -> None:
        """Nothing to draw."""

    def close(self) -> tuple[str, ...]:
        """Finish the video."""
        self._end_video()
        return ()

    def _end_video(self) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.close()


class _VideoFile:
    """One MP4 file while it is written, in its place once it is whole; `first` tells the size."""

    def __init__(self, path: Path, first: Pixels) -> None:
        self.path = path
        self._last_tick = -1
        codec = _codec()
        with _writing(path):
            self._part = PartFile(path)
            self._container = av.open(str(self._part.path), "w")
            # PyAV's stubs tell kinds of streams apart by literal codec names only.
            stream: Any = self._container.add_stream(codec)
        stream.width, stream.height = _even(first).shape[1::-1]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        self._stream = stream

    def write(self, rgb: Pixels, time_s: float) -> None:
        """Append one frame at its time; times have to grow."""
        frame = av.VideoFrame.from_ndarray(_even(rgb), format="rgb24")
        self._last_tick = max(self._last_tick + 1, round(time_s / _CLOCK))
        frame.pts, frame.time_base = self._last_tick, _CLOCK
        with self._whole_or_nothing():
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the index without which no player opens the file."""
        with self._whole_or_nothing():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._part.keep()

    @contextmanager
    def _whole_or_nothing(self) -> Iterator[None]:
        """Remove what was written when it breaks off: without its index no player opens it."""
        try:
            with _writing(self.path):
                yield
        except BaseException:
            with suppress(OSError, av.FFmpegError):
                self._container.close()
            self._part.drop()
            raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn errors of the disk and of the encoder into `OutputError`."""
    try:
        with disk_errors(path):
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
