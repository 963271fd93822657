"""Files that are written wholly or not at all, and errors of the disk in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlm_perception.errors import OutputError


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


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield what to write to; it takes its place once it is whole, and what was there before stays until then.

    Anything that is there and is no regular file, such as `/dev/stdout`, is written to as it is.

    Raises:
        OutputError: The disk is full, or there is no permission.
    """
    with disk_errors(path):
        if path.exists() and not path.is_file():
            yield path
            return
        # Where a link leads, so that the link stays one; short, because the file's own name may be as long as may be.
        final = path.resolve()
        part = final.with_name(f".part-{os.getpid()}{path.suffix}")
        try:
            yield part
            os.replace(part, final)
        except BaseException:
            # Nothing more can be done about a disk on which this fails, too.
            with suppress(OSError):
                part.unlink(missing_ok=True)
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
