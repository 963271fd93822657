"""Files of the field's own formats to questions; what is wrong in them is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.apps.evaluate.coco import read_coco
from vlm_perception.apps.evaluate.questions import ImageFile, Query, TrueBox
from vlm_perception.apps.evaluate.refcoco import read_refcoco
from vlm_perception.errors import DatasetError

COCO: dict[str, Any] = {
    "info": {"year": 2014},
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48, "license": 3},
        {"id": 2, "file_name": "b.jpg"},
    ],
    "categories": [{"id": 5, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "cup"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 10, 20], "area": 120, "segmentation": [[1, 2, 3]]},
        {"id": 2, "image_id": 1, "category_id": 5, "bbox": [30, 2, 10, 20], "iscrowd": 1},
        {"id": 3, "image_id": 1, "category_id": 7, "bbox": [5, 5, 5, 5]},
        {"id": 4, "image_id": 2, "category_id": 9, "bbox": [0, 0, 0, 4]},
        {"id": 5, "image_id": 3, "category_id": 9, "bbox": [0, 0, 4, 4]},
    ],
}
CAT = Query("cat", (TrueBox((1, 2, 11, 22), 120), TrueBox((30, 2, 40, 22), 200, is_crowd=True)))
DOG = Query("dog", (TrueBox((5, 5, 10, 10), 25),))
REFERENCES = [
    {
        "ref_id": 1,
        "ann_id": 1,
        "image_id": 1,
        "split": "val",
        "sentences": [{"sent": "left cat"}, {"sent": "thin one"}],
    },
    {"ref_id": 2, "ann_id": 3, "image_id": 1, "split": "testA", "sentences": [{"sent": "dog"}]},
    {"ref_id": 3, "ann_id": 44, "image_id": 1, "split": "val", "sentences": [{"sent": "nobody"}]},
]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(COCO))
    return path


def test_each_category_of_an_image_is_a_question_and_so_are_some_that_it_lacks(coco: Path) -> None:
    data = read_coco(coco, Path("there"), absent=1)
    first, second = data.sheets
    assert first.image == ImageFile(Path("there/a.jpg"), (64, 48))
    assert first.questions == (CAT, DOG, Query("cup", ()))
    assert second.image == ImageFile(Path("there/b.jpg"), None)
    assert data.count == 2
    assert [(q.prompt in ("cat", "dog", "cup"), q.truths) for q in second.questions] == [(True, ())]
    assert data == read_coco(coco, Path("there"), absent=1)
    assert data.notes == ("2 annotations name no image or category of the file, or have no area: left out",)
    assert [len(sheet.questions) for sheet in read_coco(coco, Path(), absent=99).sheets] == [3, 3]
    assert [len(sheet.questions) for sheet in read_coco(coco, Path(), absent=0).sheets] == [2]


def test_each_sentence_of_a_split_means_one_thing(coco: Path) -> None:
    path = coco.with_name("refs(unc).json")
    path.write_text(json.dumps(REFERENCES))
    data = read_refcoco(path, Path("there"), "val")
    truth = (TrueBox((1, 2, 11, 22), 120),)
    (sheet,) = data.sheets
    assert sheet.image == ImageFile(Path("there/a.jpg"), None)
    assert sheet.questions == (Query("left cat", truth, is_phrase=True), Query("thin one", truth, is_phrase=True))
    assert data.notes == ("1 references have no box or image in instances.json: left out",)
    with pytest.raises(DatasetError, match="no split 'test': choose one of testA, val"):
        read_refcoco(path, Path(), "test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no COCO file"),
        ("[]", "the whole"),
        ('{"images": [], "annotations": []}', "no categories"),
        ('{"images": [{"id": 1}], "annotations": []}', "images.0.file_name: Field required"),
        (
            json.dumps({**COCO, "annotations": [{"image_id": 1, "category_id": 5, "bbox": [1, 2]}]}),
            "annotations.0.bbox",
        ),
        ("[" * 100_000, "no COCO file"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=said):
        read_coco(path, tmp_path, 1)
    for missing in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DatasetError, match="cannot be read: "):
            read_coco(missing, tmp_path, 1)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "refs.json").write_bytes(data)
    with pytest.raises(DatasetError):
        read_refcoco(folder / "refs.json", folder, "val")
    with pytest.raises(DatasetError):
        read_coco(folder / "refs.json", folder, 1)
