"""RefCOCO, RefCOCO+ and RefCOCOg: phrases in `refs(NAME).json`, boxes in `instances.json` beside it.

The phrases are published as pickles, and reading one may run anything; docs/tools.md says how to make JSON of them.
Each sentence means one thing of its image (Yu et al., "Modeling context in referring expressions", 2016).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from vlm_perception.apps.evaluate.coco import read_coco_file
from vlm_perception.apps.evaluate.json_files import read_json
from vlm_perception.apps.evaluate.questions import Dataset, ImageFile, Query, Sheet
from vlm_perception.errors import DatasetError

INSTANCES = "instances.json"


class Sentence(BaseModel):
    """One phrase."""

    sent: str


class Reference(BaseModel):
    """One thing, and the phrases that mean it."""

    ann_id: int | str
    image_id: int | str
    split: str
    sentences: list[Sentence]


_REFERENCES = TypeAdapter(list[Reference])


def read_refcoco(path: Path, images: Path, split: str) -> Dataset:
    """Read one split.

    Args:
        path: `refs(NAME).json`.
        images: Folder that the names of files count from.
        split: Such as `val`, `testA` or `testB`.

    Raises:
        DatasetError: A file cannot be used, or has no such split.
    """
    references = read_json(path, _REFERENCES, "list of references, refs(NAME).json")
    splits = sorted({reference.split for reference in references})
    if split not in splits:
        raise DatasetError(f"{path} has no split {split!r}: choose one of {', '.join(splits) or 'none, it is empty'}")
    file = read_coco_file(path.with_name(INSTANCES))
    boxes = {annotation.id: annotation for annotation in file.annotations}
    by_image: dict[int | str, list[Query]] = defaultdict(list)
    lost = 0
    for reference in references:
        if reference.split != split:
            continue
        if (annotation := boxes.get(reference.ann_id)) is None:
            lost += 1
            continue
        by_image[reference.image_id] += [
            Query(sentence.sent, (annotation.truth,), is_phrase=True) for sentence in reference.sentences
        ]
    sheets = [
        Sheet(ImageFile(images / image.file_name, None), tuple(by_image.pop(image.id)))
        for image in file.images
        if image.id in by_image
    ]
    lost += sum(map(len, by_image.values()))
    notes = (f"{lost} references have no box or image in {INSTANCES}: left out",) if lost else ()
    return Dataset(tuple(sheets), len(sheets), notes)
