"""Annotated files: an image for every image, a video for every video."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vlm_perception.apps.detect.exports.base import FileNames
from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.drawing.annotate import annotate
from vlm_perception.errors import OutputError
from vlm_perception.frames.files import usual_suffix
from vlm_perception.frames.video_writing import VideoWriter, write_video
from vlm_perception.frames.whole_files import make_folder, whole_file
from vlm_perception.types import Result

_QUALITY = 95


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
        self._video: VideoWriter | None = None
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
            self._source, self._video = picture.path, write_video(self._folder / f"{stem}.mp4")
        self._video.send((drawn, picture.time_s or 0.0))

    def close(self) -> tuple[str, ...]:
        """Finish the video."""
        video, self._video = self._video, None
        if video is not None:
            video.close()
        return ()
