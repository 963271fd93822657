"""Frames of videos, kept as image files."""

from __future__ import annotations

from pathlib import Path

from vlm_perception.apps.detect.exports.base import FileNames, make_folder, whole_file
from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.frames.compressed import rgb_to_jpeg
from vlm_perception.types import Result

_JPEG_QUALITY = 95


class FrameFiles:
    """Writes frames as JPEG files, each once; also an export that keeps every frame that was answered.

    Args:
        folder: Where to; it is made.
        names: Names in use in that folder.

    Raises:
        OutputError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, names: FileNames | None = None) -> None:
        self._folder, self._names = folder, names or FileNames()
        self._last: tuple[Picture, Path] | None = None
        make_folder(folder)

    def keep(self, picture: Picture) -> Path:
        """Write one frame and return its file."""
        if self._last is not None and self._last[0] is picture:
            return self._last[1]
        path = self._folder / f"{self._names.picture_stem(picture)}.jpg"
        with whole_file(path) as part:
            part.write_bytes(rgb_to_jpeg(picture.rgb, _JPEG_QUALITY))
        self._last = (picture, path)
        return path

    def add(self, picture: Picture, result: Result) -> None:
        """Keep the picture if it is a frame of a video."""
        if picture.frame_index is not None:
            self.keep(picture)

    def fail(self, failure: Failure) -> None:
        """Nothing to keep."""

    def close(self) -> tuple[str, ...]:
        """Everything is written already."""
        return ()
