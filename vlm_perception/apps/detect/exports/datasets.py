"""Data sets for training: COCO in one file, YOLO in a folder.

supervision, whose readers read both, cannot write them as they are needed here: its COCO holds no scores, attributes
or times of frames and says that the pictures are CC BY 4.0, its YOLO reads every picture anew, and both refuse two
pictures of one name from two folders.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, TextIO

import yaml

from vlm_perception.apps.detect.exports.base import ClassNumbers, FileNames, FrameFiles
from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.errors import OutputError
from vlm_perception.frames.files import usual_suffix
from vlm_perception.frames.whole_files import check_file, disk_errors, make_folder, whole_file
from vlm_perception.types import WH, XYXY, Prompt, Result


class CocoFile:
    """Gathers everything and writes one JSON object when it is closed: https://cocodataset.org/#format-data.

    Every annotation carries a `score`, so the list `annotations` alone is what `pycocotools` takes in `loadRes`.

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
            left, top, right, bottom = item.xyxy
            box_wh = round(right - left, 3), round(bottom - top, 3)
            annotation: dict[str, Any] = {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": self._classes.number(item.label) + 1,
                "bbox": [round(left, 3), round(top, 3), *box_wh],
                "area": round(box_wh[0] * box_wh[1], 3),
                "iscrowd": 0,
            }
            # COCO has no word for an unknown score; without the key, readers say so instead of ranking it.
            if item.score is not None:
                annotation["score"] = item.score
            said = {"kind": item.kind, "text": item.text} if item.kind else {}
            if item.attributes or said:
                annotation["attributes"] = {**item.attributes, **said}
            self._annotations.append(annotation)

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
        notes = _points_note(self._points, "COCO results")
        if self._frames is None and any("video" in image for image in self._images):
            notes += ("frames of videos are named in the COCO file but not kept; --frames FOLDER keeps them",)
        return notes

    def _file_of(self, picture: Picture) -> Path:
        """Absolute path of the image file, also when a frame of a video is not kept as one."""
        if picture.frame_index is None:
            return picture.path.absolute()
        if self._frames is not None:
            return self._frames.keep(picture).absolute()
        return picture.path.absolute().with_name(f"{self._names.picture_stem(picture)}.jpg")


class YoloFolder:
    """Writes labels/, the pictures beside them in images/, classes.txt and data.yaml, as Ultralytics reads it.

    Args:
        folder: Where to; it is made. Labels of an earlier run are not mixed with: their class
            numbers may mean other things.
        prompt: What is asked; its targets are the first classes.

    Raises:
        OutputError: The folder cannot be written to, or holds labels already.
    """

    def __init__(self, folder: Path, prompt: Prompt) -> None:
        self._folder = folder
        self._classes, self._names = ClassNumbers(prompt), FileNames()
        self._points = self._texts = 0
        if any((folder / "labels").glob("*.txt")):
            raise OutputError(f"{folder} holds the labels of an earlier run: remove it, or name another folder")
        make_folder(folder / "labels")
        self._frames = FrameFiles(folder / "images", self._names)

    def add(self, picture: Picture, result: Result) -> None:
        """Write the picture and its boxes; a picture without any has an empty label file."""
        image_wh = result.request.frame.image_wh
        lines = [
            yolo_line(self._classes.number(item.label), item.xyxy, image_wh) for item in result.objects if item.xyxy
        ]
        self._points += len(result.objects) - len(lines)
        self._texts += sum(bool(item.text) for item in result.objects)
        stem = self._names.picture_stem(picture)
        suffix = usual_suffix(picture.path) if picture.frame_index is None else None
        if suffix is None:
            self._frames.keep(picture)
        else:
            with whole_file(self._folder / "images" / f"{stem}{suffix}") as part:
                shutil.copyfile(picture.path, part)
        self._write(f"labels/{stem}.txt", "".join(lines))

    def close(self) -> tuple[str, ...]:
        """Write the names of the classes.

        Returns:
            How many points and texts were left out.
        """
        names = list(self._classes.names())
        # Without `path`, readers take the folder of the file itself.
        data = {"train": "images", "val": "images", "nc": len(names), "names": names}
        self._write("classes.txt", "".join(f"{name}\n" for name in names))
        self._write("data.yaml", yaml.safe_dump(data, allow_unicode=True, sort_keys=False))
        notes = _points_note(self._points, "YOLO text")
        if self._texts:
            notes += (f"{self._texts} texts left out: YOLO text holds classes and boxes; --format jsonl has the texts",)
        return notes

    def _write(self, name: str, text: str) -> None:
        with whole_file(self._folder / name) as part:
            part.write_text(text, encoding="utf-8")


def yolo_line(number: int, xyxy: XYXY, image_wh: WH) -> str:
    """Return `class cx cy w h` and an end of line, the last four as shares of the image's width and height.

    Args:
        number: Class number.
        xyxy: Box in image pixels.
        image_wh: Size of the image in pixels.
    """
    left, top, right, bottom = xyxy
    width, height = image_wh
    shares = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return f"{number} {' '.join(f'{share:.6f}' for share in shares)}\n"


def _points_note(count: int, where: str) -> tuple[str, ...]:
    return (f"{count} points left out: {where} holds boxes only; --format jsonl has the points",) if count else ()
