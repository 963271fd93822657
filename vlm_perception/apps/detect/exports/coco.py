"""COCO: one JSON object with images, annotations and categories, whose annotations are COCO results too.

Format: https://cocodataset.org/#format-data and #format-results. Every annotation carries a
`score`, so the list `annotations` alone is what `pycocotools` takes in `loadRes`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TextIO

from vlm_perception.apps.detect.exports.base import ClassNumbers, FileNames, check_file, disk_errors, whole_file
from vlm_perception.apps.detect.exports.frames import FrameFiles
from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.types import XYXY, Prompt, Result


class CocoFile:
    """Gathers everything and writes it when it is closed.

    Args:
        target: A stream or a file to write to.
        prompt: What is asked; its targets are the first categories.
        frames: Where frames of videos are kept as images; None keeps none.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, target: TextIO | Path, prompt: Prompt, frames: FrameFiles | None = None) -> None:
        self._target, self._prompt, self._frames = target, prompt, frames
        self._classes, self._names = ClassNumbers(prompt), FileNames()
        self._files: list[Path] = []
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._points = 0
        if isinstance(target, Path):
            check_file(target)

    def add(self, picture: Picture, result: Result) -> None:
        """Note one image and its boxes."""
        image_id = len(self._images) + 1
        width, height = result.request.frame.image_wh
        image: dict[str, Any] = {"id": image_id, "width": width, "height": height}
        if picture.frame_index is not None:
            image |= {"video": str(picture.path), "frame_index": picture.frame_index, "time_s": picture.time_s}
        self._images.append(image)
        self._files.append(self._file_of(picture))
        for item in result.objects:
            if item.xyxy is None:
                self._points += 1
                continue
            annotation: dict[str, Any] = {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": self._classes.number(item.label) + 1,
                "bbox": _xywh(item.xyxy),
                "area": _area(item.xyxy),
                "iscrowd": 0,
            }
            # COCO has no word for an unknown score; without the key, readers say so instead of ranking it.
            if item.score is not None:
                annotation["score"] = item.score
            if item.attributes:
                annotation["attributes"] = dict(item.attributes)
            self._annotations.append(annotation)

    def fail(self, failure: Failure) -> None:
        """A failure has no place in COCO; it is told on stderr and by the exit code."""

    def close(self) -> tuple[str, ...]:
        """Write the file.

        Returns:
            How many points were left out, and whether frames have no image file.
        """
        root = Path(os.path.commonpath([path.parent for path in self._files])) if self._files else Path()
        names = [path.relative_to(root).as_posix() for path in self._files]
        fields = {
            "info": {"description": self._prompt.text},
            "images": [{**image, "file_name": name} for image, name in zip(self._images, names, strict=True)],
            "annotations": self._annotations,
            "categories": [{"id": n, "name": name} for n, name in enumerate(self._classes.names(), start=1)],
        }
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode("utf-8")
        if isinstance(self._target, Path):
            with whole_file(self._target) as path:
                path.write_text(text + "\n", encoding="utf-8")
        else:
            with disk_errors("standard output"):
                self._target.write(text + "\n")
                self._target.flush()
        return self._notes()

    def _file_of(self, picture: Picture) -> Path:
        """Absolute path of the image file, also when a frame of a video is not kept as one."""
        if picture.frame_index is None:
            return picture.path.absolute()
        if self._frames is not None:
            return self._frames.keep(picture).absolute()
        return picture.path.absolute().with_name(f"{self._names.picture_stem(picture)}.jpg")

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self._points:
            notes.append(f"{self._points} points left out: COCO results hold boxes only; --format jsonl has the points")
        if self._frames is None and any("video" in image for image in self._images):
            notes.append("frames of videos are named in the COCO file but not kept; --frames FOLDER keeps them")
        return tuple(notes)


def _xywh(xyxy: XYXY) -> list[float]:
    left, top, right, bottom = xyxy
    return [round(left, 3), round(top, 3), round(right - left, 3), round(bottom - top, 3)]


def _area(xyxy: XYXY) -> float:
    _, _, width, height = _xywh(xyxy)
    return round(width * height, 3)
