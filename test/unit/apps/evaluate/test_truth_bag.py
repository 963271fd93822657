"""A bag with images and their truth is asked about as COCO's file of the same images is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from recorded_bags import TEXT
from spoken import SpokenEngine
from truth_bags import IMAGE_TOPIC, TRUTH_TOPIC, image, truth, write_truth_bag

from vlm_perception.apps.evaluate import command as cli
from vlm_perception.apps.evaluate.questions import Query, TrueBox
from vlm_perception.apps.evaluate.truth_bag import read_truth_bag
from vlm_perception.errors import DatasetError, ImageError
from vlm_perception.frames.bag_writing import make
from vlm_perception.types import XYXY

CUP, SAW, FAR = ("cup", (4.0, 6.0, 20.0, 30.0)), ("saw", (30.0, 1.0, 60.0, 40.0)), ("cup", (40.0, 2.0, 50.0, 9.0))
IMAGES = [(CUP, SAW), (CUP, FAR), (), (SAW,)]
REPLY = '[{"bbox_2d": [4, 6, 20, 30], "label": "cup"}, {"bbox_2d": [31, 1, 60, 38], "label": "saw"}]'


def read(path: Path, absent: int = 0, **topics: str) -> Any:
    return read_truth_bag(path, topics.get("topic", ""), topics.get("truth", ""), absent, pytest.fail)


def asks(label: str, *boxes: XYXY) -> Query:
    return Query(label, tuple(TrueBox(box, (box[2] - box[0]) * (box[3] - box[1])) for box in boxes))


def test_each_label_of_an_image_is_a_question_and_what_fits_to_nothing_is_told(tmp_path: Path) -> None:
    path = write_truth_bag(
        tmp_path / "drive",
        [
            # As simulators do: some truths come before their images, some after.
            (TRUTH_TOPIC, truth(0, CUP, SAW)),
            (IMAGE_TOPIC, image(0)),
            ("/words", make(TEXT, data="x")),
            (IMAGE_TOPIC, image(1)),
            (IMAGE_TOPIC, image(2)),
            (TRUTH_TOPIC, truth(2, CUP, FAR, ("saw", (5.0, 5.0, 5.0, 5.0)), ("", (1.0, 1.0, 9.0, 9.0)))),
            (TRUTH_TOPIC, truth(3, SAW)),
            (IMAGE_TOPIC, image(4)),
            (TRUTH_TOPIC, b"no truth at all"),
            (TRUTH_TOPIC, b"none"),
            (TRUTH_TOPIC, truth(4)),
            # One of them is as good as the other.
            *[(IMAGE_TOPIC, image(5))] * 3,
            (TRUTH_TOPIC, truth(5, SAW)),
        ],
    )
    data = read(path, absent=9)
    sheets = list(data.sheets)
    assert data.count == len(sheets) == 3
    assert [sheet.image.title for sheet in sheets] == [f"{path} image {number}" for number in (0, 2, 3)]
    assert sheets[0].questions == (asks("cup", CUP[1]), asks("saw", SAW[1]))
    assert sheets[1].questions == (asks("cup", CUP[1], FAR[1]), asks("saw"))
    assert set(sheets[2].questions) == {asks("cup"), asks("saw")}
    # The images are grey and tell their numbers; each has its own stamp.
    frames = [sheet.image.read() for sheet in data.sheets]
    assert [(frame.rgb[0, 0, 0], frame.header.stamp_nanosec) for frame in frames] == [
        (number, number * 10**8 + 7) for number in (0, 2, 4)
    ]
    assert set(data.notes) == {
        "2 detections without a name or an area, such as points: left out",
        "3 images that share a stamp: left out",
        "1 images without a truth of their stamp: left out",
        "1 truths without an image of their stamp: left out",
        "2 truths that are damaged, or of a vision_msgs before ROS 2 Humble: left out",
    }
    assert read(path).count == 2, "without --absent nothing is asked about an empty image"


def test_without_stamps_no_truth_is_about_any_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    messages = [
        each for number in range(3) for each in ((IMAGE_TOPIC, image(number)), (TRUTH_TOPIC, truth(number, CUP)))
    ]
    for _, message in messages:
        message.header.stamp.sec = message.header.stamp.nanosec = 0
    engine = SpokenEngine(REPLY)
    assert cli.main([str(write_truth_bag(tmp_path / "drive", messages))], engine.make) == 2
    err = capsys.readouterr().err
    for said in ("3 images without a stamp: left out", "3 truths without a stamp: left out", "nothing to ask about"):
        assert said in err
    assert engine.loaded == 0


def test_of_a_turned_box_what_bounds_it_and_of_several_hypotheses_the_best(tmp_path: Path) -> None:
    box = ("cup", (10.0, 10.0, 30.0, 20.0))
    messages = [
        (IMAGE_TOPIC, image(0)),
        (TRUTH_TOPIC, truth(0, box, theta=np.pi / 2, also=[("mug", 0.75), ("jar", 0.25)])),
    ]
    (sheet,) = read(write_truth_bag(tmp_path / "drive", messages)).sheets
    (asked,) = sheet.questions
    assert asked.prompt == "mug"
    assert asked.truths[0].xyxy == pytest.approx((15.0, 5.0, 25.0, 25.0))


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ({}, "several topics of vision_msgs/msg/Detection2DArray, /camera/truth, /found: name one with --truth-topic"),
        ({"truth": "/nothing"}, "no vision_msgs/msg/Detection2DArray on /nothing: name one of /camera/truth, /found"),
        ({"truth": IMAGE_TOPIC}, "no vision_msgs/msg/Detection2DArray on /camera/image_raw"),
        ({"topic": "/rear", "truth": "found"}, "no topic /rear"),
    ],
)
def test_the_topics_are_chosen_or_told(tmp_path: Path, topics: dict[str, str], said: str) -> None:
    messages = [(IMAGE_TOPIC, image(0)), (TRUTH_TOPIC, truth(0, CUP)), ("/found", truth(0, SAW))]
    path = write_truth_bag(tmp_path / "drive", messages)
    with pytest.raises((DatasetError, ImageError), match=said):
        read(path, **topics)
    (sheet,) = read(path, truth="found").sheets
    assert [asked.prompt for asked in sheet.questions] == ["saw"]
    alone = write_truth_bag(tmp_path / "alone", messages[:1])
    with pytest.raises(DatasetError, match="record one with the truth under the images' stamps"):
        read(alone)


def evaluated(engine: SpokenEngine, *arguments: str) -> dict[str, Any]:
    assert cli.main([*arguments], engine.make) == 0
    found: dict[str, Any] = json.loads(Path("evaluation.json").read_text())
    for figures in (found["figures"], *found["labels"].values()):
        for name in [name for name in figures if name.endswith("_s")]:
            del figures[name]
    return found


def test_figures_are_those_of_the_same_images_and_boxes_as_coco(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    messages, annotations = list[tuple[str, Any]](), list[dict[str, Any]]()
    for number, boxes in enumerate(IMAGES):
        messages += [(IMAGE_TOPIC, image(number)), (TRUTH_TOPIC, truth(number, *boxes))]
        Image.new("RGB", (64, 48), (number, number, number)).save(f"{number}.png")
        for label, (left, top, right, bottom) in boxes:
            box = {"bbox": [left, top, right - left, bottom - top], "category_id": label}
            annotations.append({"image_id": number, **box})
    files = [{"id": number, "file_name": f"{number}.png"} for number in range(len(IMAGES))]
    categories = [{"id": label, "name": label} for label in ("cup", "saw")]
    coco = {"images": files, "annotations": annotations, "categories": categories}
    Path("truth.json").write_text(json.dumps(coco))
    write_truth_bag(tmp_path / "drive", messages)
    engine, other = SpokenEngine(REPLY), SpokenEngine(REPLY)
    files_say = evaluated(engine, "truth.json", "--absent", "9")
    bag_says = evaluated(other, "drive", "--absent", "9")
    assert bag_says | {"data": ""} == files_say | {"data": ""}
    assert files_say["figures"]["recall50"] == 4 / 5
    assert files_say["figures"]["rejection"] == 0.0
    assert [request.prompt.text for request in other.requests][:4] == ["cup", "saw", "cup", "saw"]
    pixels = [[request.frame.rgb[0, 0, 0] for request in each.requests] for each in (engine, other)]
    assert pixels[0] == pixels[1]
    assert evaluated(SpokenEngine(REPLY), "drive", "--max-images", "1", "--format", "truth-bag")["images"] == 1


def test_images_that_fail_are_told_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = image(1)
    broken.encoding = "nothing"
    messages = [(IMAGE_TOPIC, image(0)), (IMAGE_TOPIC, broken), *((TRUTH_TOPIC, truth(n, CUP)) for n in (0, 1, 2))]
    write_truth_bag(tmp_path / "drive", messages)
    assert cli.main(["drive"], SpokenEngine(REPLY).make) == 1
    out, err = capsys.readouterr()
    assert "1 truths without an image of their stamp: left out" in err
    assert "unknown image encoding" in err
    assert "1 images, 1 questions, 1 failed" in out


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([(IMAGE_TOPIC, image(0)), (TRUTH_TOPIC, truth(1, CUP))], "nothing to ask about"),
        ([(TRUTH_TOPIC, truth(1, CUP))], "holds no sensor_msgs/Image"),
    ],
)
def test_a_bag_without_truths_of_its_images_is_2_before_a_model_is_loaded(
    tmp_path: Path, messages: list[tuple[str, Any]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, engine = write_truth_bag(tmp_path / "drive", messages), SpokenEngine(REPLY)
    assert cli.main([str(path)], engine.make) == 2
    assert said in capsys.readouterr().err
    assert engine.loaded == 0
