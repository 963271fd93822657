"""What the exports have in common: the seam, class numbers, names of files, and frames kept as files."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path
from typing import Protocol

from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.frames.compressed import rgb_to_jpeg
from vlm_perception.frames.whole_files import make_folder, whole_file
from vlm_perception.types import Prompt, Result

_JPEG_QUALITY = 95


class Export(Protocol):
    """Somewhere results go, in the order of the pictures.

    Every method raises `OutputError` when nothing more can be written.
    """

    def add(self, picture: Picture, result: Result) -> None:
        """Take one whole answer."""
        ...

    def close(self) -> tuple[str, ...]:
        """Write what is left; what was taken so far is then complete on the disk.

        Returns:
            Notes for people, such as what the format could not hold.
        """
        ...


class ClassNumbers:
    """Numbers the labels from 0.

    Several things that were asked for ("cup; person") have the numbers of their order, found or
    not, so that they mean the same in every run; other labels follow as they appear.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._targets = prompt.targets
        self._numbers: dict[str, int] = {}
        if len(prompt.targets) > 1:
            for target in prompt.targets:
                self.number(target)

    def number(self, label: str) -> int:
        """Return a label's number, a new one if it is new. Lines breaks and kin count as spaces."""
        return self._numbers.setdefault(" ".join(label.split()), len(self._numbers))

    def names(self) -> tuple[str, ...]:
        """All labels by number; what was asked for when nothing was found."""
        if not self._numbers:
            for target in self._targets:
                self.number(target)
        return tuple(self._numbers)


class FileNames:
    """Gives every source file a name stem of its own, for folders without sub-folders."""

    def __init__(self) -> None:
        self._stems: dict[Path, str] = {}
        self._taken: set[str] = set()

    def stem(self, path: Path) -> str:
        """Return the file's own stem; with its folder's name or a number behind where that is taken."""
        if path not in self._stems:
            base = f"{path.stem}_{path.absolute().parent.name or 'root'}"
            candidates = chain((path.stem, base), (f"{base}_{number}" for number in count(2)))
            self._stems[path] = next(stem for stem in candidates if stem.casefold() not in self._taken)
            self._taken.add(self._stems[path].casefold())
        return self._stems[path]

    def picture_stem(self, picture: Picture) -> str:
        """Return the stem for an image or, with its number, for a frame of a video."""
        stem = self.stem(picture.path)
        return stem if picture.frame_index is None else f"{stem}_{picture.frame_index:06d}"


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

    def close(self) -> tuple[str, ...]:
        """Everything is written already."""
        return ()
