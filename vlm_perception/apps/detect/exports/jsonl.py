"""JSON lines: one line for every picture, written at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.frames.whole_files import check_file, disk_errors
from vlm_perception.replies.result_json import object_fields, one_line, result_fields
from vlm_perception.types import Result


class JsonLines:
    """Writes answers, objects of unfinished answers, and failures as JSON lines.

    Args:
        target: A stream to write to, or a file, which is replaced with the first line.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, target: TextIO | Path) -> None:
        self._name = str(target) if isinstance(target, Path) else "standard output"
        self._path = target if isinstance(target, Path) else None
        self._stream: TextIO | None = None if isinstance(target, Path) else target
        self._shown = 0
        # Bytes in whole lines.
        self._whole = 0
        if self._path is not None:
            check_file(self._path)

    def add(self, picture: Picture, result: Result) -> None:
        """Write the line of one answer."""
        self._shown = 0
        self._write({**place_fields(picture), **result_fields(result, picture.places(result))})

    def add_partial(self, picture: Picture, result: Result) -> None:
        """Write a line for every object that is new since the last call for this picture."""
        for number, item in enumerate(result.objects[self._shown :], start=self._shown):
            self._write({**place_fields(picture), "partial": True, "number": number, "object": object_fields(item)})
        self._shown = max(self._shown, len(result.objects))

    def fail(self, failure: Failure) -> None:
        """Write a line with `error`."""
        self._shown = 0
        self._write({**place_fields(failure), "error": failure.message})

    def close(self) -> tuple[str, ...]:
        """Close the file; a stream stays open."""
        if self._path is not None:
            with disk_errors(self._name):
                if self._stream is None:
                    # Nothing was answered: an empty file says so, an old one would not.
                    self._path.write_text("", encoding="utf-8")
                else:
                    self._stream.close()
        return ()

    def _forget_half_a_line(self) -> None:
        """End the file with its last whole line; a stream has to be left as it is."""
        if self._path is None or self._stream is None:
            return
        with suppress(OSError):
            # What could not be written is tried again.
            self._stream.close()
        if self._path.is_file():
            with suppress(OSError):
                os.truncate(self._path, self._whole)

    def _write(self, fields: Mapping[str, Any]) -> None:
        with disk_errors(self._name):
            if self._stream is None and self._path is not None:
                self._stream = self._path.open("w", encoding="utf-8")
            if self._stream is not None:
                line = one_line(fields) + "\n"
                try:
                    self._stream.write(line)
                    self._stream.flush()
                except BaseException:
                    self._forget_half_a_line()
                    raise
                self._whole += len(line.encode())


def place_fields(item: Picture | Failure) -> dict[str, Any]:
    """Where a picture comes from: file, number and time; of a bag also stamp, frame id and topic as on `~/answer`."""
    source = item.source if isinstance(item, Failure) else str(item.path)
    place = {"source": source, "frame_index": item.frame_index, "time_s": item.time_s}
    if isinstance(item, Failure) or (header := item.header) is None:
        return place
    stamp = {"sec": header.stamp_sec, "nanosec": header.stamp_nanosec}
    return {**place, "stamp": stamp, "frame_id": header.frame_id, "camera": item.camera}
