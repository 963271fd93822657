"""Which files a ROS 2 bag is made of, and the whole records of an MCAP file that was cut off. No rosbags needed."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import yaml

from vlm_perception.frames.files import worth_reading
from vlm_perception.frames.signatures import ROS2_BAG, signature_of

METADATA = "metadata.yaml"
_INFORMATION = "rosbag2_bagfile_information"
_STORAGE = re.compile(r".*\.(mcap|db3)(\.zstd)?", re.IGNORECASE)
MCAP_MAGIC = b"\x89MCAP0\r\n"
# MCAP 1.0: a record is its kind, one byte, the length of what follows, eight bytes, and that.
_RECORD_HEAD = struct.Struct("<BQ")
_FOOTER, _DATA_END = 0x02, 0x0F
# A footer without a summary: whoever reads the file has to look at all of it.
_EMPTY_FOOTER = _RECORD_HEAD.pack(_FOOTER, 20) + bytes(20) + MCAP_MAGIC

Note = Callable[[str], object]


def is_bag(path: Path) -> bool:
    """Whether a file or folder is a ROS 2 bag: MCAP, a bag's SQLite, or a folder of such with rosbag2's metadata.

    A folder without metadata, as after a crash of the recorder, is one if files of bags lie in it, and nothing to see.
    """
    if not path.is_dir():
        return path.is_file() and (signature_of(path) == ROS2_BAG or _STORAGE.fullmatch(path.name) is not None)
    try:
        if (path / METADATA).is_file() and _INFORMATION.encode() in (path / METADATA).read_bytes():
            return True
        return bool(_stored(path)) and not any(worth_reading(each) for each in path.iterdir())
    except OSError:
        # Whoever lists the folder says it better.
        return False


def storage_files(path: Path, note: Note) -> list[Path]:
    """List the files with a bag's messages, in the order they were recorded.

    Args:
        path: A bag: folder or file.
        note: Told in words what the metadata lists and is not there.

    Returns:
        Those that the metadata names; without readable metadata all that the folder holds, by their numbers.
    """
    if not path.is_dir():
        return [path]
    listed = _listed(path / METADATA)
    if listed is None:
        return _stored(path)
    missing = [name for name in listed if not (path / name).is_file()]
    if missing:
        note(f"{path}: {', '.join(missing)} of its {METADATA} {'is' if len(missing) == 1 else 'are'} not there")
    return [path / name for name in listed if name not in missing]


def _listed(metadata: Path) -> list[str] | None:
    try:
        names = yaml.safe_load(metadata.read_text(encoding="utf-8"))[_INFORMATION]["relative_file_paths"]
        # Files lie beside the metadata, whatever the oldest versions write.
        return [PurePosixPath(name).name for name in names] or None
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None


def _stored(folder: Path) -> list[Path]:
    return sorted((each for each in folder.iterdir() if _STORAGE.fullmatch(each.name)), key=_numbered)


def _numbered(path: Path) -> list[tuple[int, str]]:
    """Sort `bag_2` before `bag_10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def whole_records(path: Path) -> list[int]:
    """Find where the records of an MCAP file end, up to the one that is not whole.

    Args:
        path: A file that begins as MCAP does.

    Returns:
        Offsets of their ends, bytes: the first is that of the magic bytes.
    """
    size = path.stat().st_size
    ends = [len(MCAP_MAGIC)]
    with path.open("rb") as file:
        while ends[-1] + _RECORD_HEAD.size <= size:
            file.seek(ends[-1])
            kind, length = _RECORD_HEAD.unpack(file.read(_RECORD_HEAD.size))
            end = ends[-1] + _RECORD_HEAD.size + length
            # Kind 0 is none: a file system filled with zeros what was lost.
            if kind in (0, _FOOTER, _DATA_END) or end > size:
                break
            ends.append(end)
    return ends


@dataclass(frozen=True, slots=True)
class CutFile:
    """The first bytes of an MCAP file with a footer behind, as a path that rosbags reads.

    Attributes:
        path: The file.
        size: How many of its bytes, up to the end of a record.
    """

    path: Path
    size: int

    def __str__(self) -> str:
        return str(self.path)

    def open(self, *_: Any) -> BinaryIO:
        """Open it for reading."""
        return io.BufferedReader(_Joined(self.path.open("rb", buffering=0), self.size, _EMPTY_FOOTER))


class _Joined(io.RawIOBase):
    """The first `size` bytes of a file, then `tail`."""

    def __init__(self, file: io.FileIO, size: int, tail: bytes) -> None:
        self._file, self._size, self._tail = file, size, tail
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size + len(self._tail)}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        if self._at < self._size:
            self._file.seek(self._at)
            data = self._file.read(min(wanted, self._size - self._at)) or b""
        else:
            data = self._tail[self._at - self._size :][:wanted]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
