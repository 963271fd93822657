"""COCO's format for detection: one JSON file with images, categories and boxes (https://cocodataset.org/#format-data).

Each category that an image has is one question, and so are some that it does not have.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from vlm_perception.apps.evaluate.json_files import read_json
from vlm_perception.apps.evaluate.questions import Dataset, ImageFile, Sheet, TrueBox, label_questions
from vlm_perception.errors import DatasetError


class Image(BaseModel):
    """One image."""

    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class Annotation(BaseModel):
    """One box: x and y of its upper left corner, width, height."""

    id: int | str | None = None
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int = 0

    @property
    def truth(self) -> TrueBox:
        """The same as a truth."""
        x, y, width, height = self.bbox
        area = width * height if self.area is None else self.area
        return TrueBox((x, y, x + width, y + height), area, bool(self.iscrowd))


class Category(BaseModel):
    """What a thing is called."""

    id: int | str
    name: str


class CocoTruth(BaseModel):
    """The parts of the file that are read."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category] = []


_FILE = TypeAdapter(CocoTruth)


def read_coco_file(path: Path) -> CocoTruth:
    """Read the file itself.

    Raises:
        DatasetError: It is no such file.
    """
    return read_json(path, _FILE, "COCO file of annotations")


def read_coco(path: Path, images: Path, absent: int) -> Dataset:
    """Read a data set.

    Args:
        path: The JSON file.
        images: Folder that the names of files count from.
        absent: About how many categories that it does not have an image is asked; the same ones every time.

    Raises:
        DatasetError: The file cannot be used.
    """
    file = read_coco_file(path)
    names = {category.id: category.name for category in file.categories}
    if not names:
        raise DatasetError(f"{path} has no categories, so that nothing can be asked for: name a file for detection")
    by_image: dict[int | str, dict[str, list[TrueBox]]] = defaultdict(lambda: defaultdict(list))
    known, lost = {image.id for image in file.images}, 0
    for annotation in file.annotations:
        if annotation.image_id not in known or annotation.category_id not in names or not _has_area(annotation):
            lost += 1
        else:
            by_image[annotation.image_id][names[annotation.category_id]].append(annotation.truth)
    labels = sorted(set(names.values()))
    sheets = []
    for image in file.images:
        there = by_image.get(image.id, {})
        if questions := label_questions(image.file_name, there, labels, absent):
            wh = (image.width, image.height) if image.width and image.height else None
            sheets.append(Sheet(ImageFile(images / image.file_name, wh), questions))
    notes = [f"{lost} annotations name no image or category of the file, or have no area: left out"] if lost else []
    return Dataset(tuple(sheets), len(sheets), tuple(notes))


def _has_area(annotation: Annotation) -> bool:
    return annotation.bbox[2] > 0 and annotation.bbox[3] > 0
