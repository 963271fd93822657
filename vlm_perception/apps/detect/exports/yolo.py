"""YOLO text: a folder with images/, labels/, classes.txt and data.yaml, as Ultralytics and supervision read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from vlm_perception.apps.detect.exports.base import ClassNumbers, FileNames, make_folder, whole_file
from vlm_perception.apps.detect.exports.frames import FrameFiles
from vlm_perception.apps.detect.inputs import Failure, Picture
from vlm_perception.errors import OutputError
from vlm_perception.types import WH, XYXY, Prompt, Result


class YoloFolder:
    """Writes one label file for every picture, and the pictures beside them under the same names.

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
        self._points = 0
        if any((folder / "labels").glob("*.txt")):
            raise OutputError(f"{folder} holds the labels of an earlier run: remove it, or name another folder")
        make_folder(folder / "labels")
        self._frames = FrameFiles(folder / "images", self._names)

    def add(self, picture: Picture, result: Result) -> None:
        """Write the picture and its boxes; a picture without any has an empty label file."""
        boxes = [item for item in result.objects if item.xyxy is not None]
        self._points += len(result.objects) - len(boxes)
        image_wh = result.request.frame.image_wh
        lines = [yolo_line(self._classes.number(item.label), item.xyxy, image_wh) for item in boxes if item.xyxy]
        stem = self._names.picture_stem(picture)
        if picture.frame_index is not None:
            self._frames.keep(picture)
        else:
            copy = self._folder / "images" / f"{stem}{picture.path.suffix}"
            with whole_file(copy) as part:
                shutil.copyfile(picture.path, part)
        path = self._folder / "labels" / f"{stem}.txt"
        with whole_file(path) as part:
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def fail(self, failure: Failure) -> None:
        """A failure has no place in YOLO text; it is told on stderr and by the exit code."""

    def close(self) -> tuple[str, ...]:
        """Write the names of the classes.

        Returns:
            How many points were left out.
        """
        names = list(self._classes.names())
        # Without `path`, readers take the folder of the file itself.
        data = {"train": "images", "val": "images", "nc": len(names), "names": names}
        with whole_file(self._folder / "classes.txt") as part:
            part.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        with whole_file(self._folder / "data.yaml") as part:
            part.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")
        if not self._points:
            return ()
        return (f"{self._points} points left out: YOLO text holds boxes only; --format jsonl has the points",)


def yolo_line(number: int, xyxy: XYXY, image_wh: WH) -> str:
    """Return `class cx cy w h`, the last four as shares of the image's width and height.

    Args:
        number: Class number.
        xyxy: Box in image pixels.
        image_wh: Size of the image in pixels.
    """
    left, top, right, bottom = xyxy
    width, height = image_wh
    shares = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return f"{number} " + " ".join(f"{share:.6f}" for share in shares)
