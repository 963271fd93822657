"""What every export has in common: the seam, class numbers, file names, and errors of the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.errors import OutputError
from vlm_perception.types import Prompt, Result


class Export(Protocol):
    """Somewhere results go, in the order of the pictures.

    Every method raises `OutputError` when nothing more can be written.
    """

    def add(self, picture: Picture, result: Result) -> None:
        """Take one whole answer."""
        ...

    def fail(self, failure: Failure) -> None:
        """Take something that was named and could not be answered."""
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
            self._stems[path] = next(name for name in _candidates(path) if name.casefold() not in self._taken)
            self._taken.add(self._stems[path].casefold())
        return self._stems[path]

    def picture_stem(self, picture: Picture) -> str:
        """Return the stem for an image or, with its number, for a frame of a video."""
        stem = self.stem(picture.path)
        return stem if picture.frame_index is None else f"{stem}_{picture.frame_index:06d}"


def _candidates(path: Path) -> Iterator[str]:
    yield path.stem
    base = f"{path.stem}_{path.absolute().parent.name or 'root'}"
    yield base
    number = 2
    while True:
        yield f"{base}_{number}"
        number += 1


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turn errors of the system about a place into `OutputError`; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free space or name another place that you may write to"
        ) from error


class PartFile:
    """A file that takes its place under its own name once it is whole; what was there before stays until then.

    Anything that is there and is no regular file, such as `/dev/stdout`, is written to as it is.

    Args:
        path: Where the file is to be.

    Attributes:
        path: What to write to, with the same suffix.
    """

    def __init__(self, path: Path) -> None:
        self._final = path
        is_special = path.exists() and not path.is_file()
        # Where a link leads, so that the link stays one; short, because the file's own name may be as long as may be.
        self.path = path if is_special else path.resolve().with_name(f".part-{os.getpid()}{path.suffix}")

    def keep(self) -> None:
        """Put the file in its place.

        Raises:
            OSError: That is not possible.
        """
        if self.path is not self._final:
            os.replace(self.path, self._final.resolve())

    def drop(self) -> None:
        """Remove what was written; nothing more can be done about a disk on which that fails, too."""
        if self.path is not self._final:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file wholly or not at all: yields what to write to, see `PartFile`.

    Raises:
        OutputError: The disk is full, or there is no permission.
    """
    with disk_errors(path):
        part = PartFile(path)
        try:
            yield part.path
            part.keep()
        except BaseException:
            part.drop()
            raise


def make_folder(folder: Path) -> None:
    """Make a folder, and find out early that it cannot be written to.

    Raises:
        OutputError: Something else is there, or there is no permission.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")


def check_file(path: Path) -> None:
    """Find out early that a file cannot be written; its folder is made, the file is not touched yet.

    Raises:
        OutputError: It is a folder, or there is no permission.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file in it")
    make_folder(path.parent)
    with disk_errors(path):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
