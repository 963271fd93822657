"""Places in space from what a bag holds beside the images: in the lines, and in the bag of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from recorded_bags import TEXT, WH, calibration, image, transforms, write_bag
from rosbags.highlevel import AnyReader
from spoken import SpokenEngine

from vlm_perception.apps.detect import command as cli
from vlm_perception.frames.bag_writing import make

# Middle of its box is at (12, 18): to the left of and above the middle of the image, 2 m away.
REPLY = '[{"bbox_2d": [4, 6, 20, 30], "label": "red cup"}]'
IN_CAMERA_M = ((12 - WH[0] / 2) / 50 * 2, (18 - WH[1] / 2) / 50 * 2, 2.0)
COUNT = 12


def depth(index: int) -> Any:
    metres = np.full((WH[1], WH[0]), 4.0)
    metres[6:30, 4:20] = 2.0
    return image(index, "16UC1", 2, data=(metres * 1000).astype("<u2").view(np.uint8).ravel())


def drive(folder: Path, depths: int = COUNT, moves: int = COUNT, infos: int = COUNT) -> Path:
    """Depth and the next place of the base come after each image; the base goes 10 m/s along x of the map."""
    recorded = [("/tf_static", 0, transforms(1, "lens")), ("/words", 0, make(TEXT, data="x"))]
    for index in range(COUNT):
        at_ns = index * 10**8
        recorded.append(("/front/image_raw", at_ns, image(index)))
        recorded += [("/front/camera_info", at_ns + 10**6, calibration(index))] if index < infos else []
        recorded += [("/depth", at_ns + 60 * 10**6, depth(index))] if index < depths else []
        recorded += [("/tf", at_ns + 90 * 10**6, transforms(index, "base", "map"))] if index < moves else []
    return write_bag(folder, recorded)


def detect(*arguments: object) -> tuple[int, SpokenEngine]:
    engine = SpokenEngine(REPLY)
    more = ["--topic", "/front/image_raw", "--prompt", "red cup"]
    return cli.main([*map(str, arguments), *more], engine.make), engine


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("every", ["1", "5"])
@pytest.mark.parametrize("target", ["", "map"])
def test_places_are_those_of_the_image_s_own_moment_in_the_lines_and_in_the_bag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], every: str, target: str
) -> None:
    bag, results = drive(tmp_path / "drive"), tmp_path / "found"
    more = ["--target-frame", target] if target else []
    code, _ = detect(bag, "--depth-topic", "/depth", "--every", every, "--output-bag", results, *more)
    assert code == 0
    lines = told(capsys)
    # With the last image nothing is recorded behind its stamp: its own stamp is known, as tf2 has it.
    assert [line["frame_index"] for line in lines] == list(range(0, COUNT, int(every)))
    expected = [
        np.add(IN_CAMERA_M, (line["frame_index"] + 1.0, 0.0, 0.0) if target else (0.0, 0.0, 0.0)) for line in lines
    ]
    for line, place_m in zip(lines, expected, strict=True):
        (item,) = line["objects"]
        assert item["position_m"] == pytest.approx(place_m, abs=0.05)
        assert item["position_frame"] == (target or "lens")
    with AnyReader([results]) as reader:
        wanted = [each for each in reader.connections if each.topic == "/vlm_perception/detections_3d"]
        arrays = [reader.deserialize(data, each.msgtype) for each, _, data in reader.messages(wanted)]
    for array, line, place_m in zip(arrays, lines, expected, strict=True):
        (found,) = array.detections
        stamp = array.header.stamp
        assert (array.header.frame_id, found.header.frame_id) == (target or "lens",) * 2
        assert {"sec": stamp.sec, "nanosec": stamp.nanosec} == line["stamp"]
        centre, (guess,) = found.bbox.center.position, found.results
        assert (centre.x, centre.y, centre.z) == pytest.approx(place_m, abs=0.05)
        assert [found.bbox.size.x, found.bbox.size.y, found.bbox.size.z] == line["objects"][0]["size_m"]
        assert (guess.hypothesis.class_id, guess.pose.pose.position.x) == ("red cup", centre.x)
        assert np.reshape(guess.pose.covariance, (6, 6))[:3, :3].diagonal().min() > 0


@pytest.mark.parametrize(
    ("missing", "cause"),
    [
        ({"depths": 3}, "no_depth_at_stamp"),
        ({"moves": 3}, "no_transform"),
        ({"infos": 0}, "no_camera_info"),
    ],
)
def test_what_has_no_place_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: dict[str, int], cause: str
) -> None:
    bag, results = drive(tmp_path / "drive", **missing), tmp_path / "found"
    code, _ = detect(bag, "--depth-topic", "depth", "--target-frame", "map", "--output-bag", results)
    assert code == 0
    items = [line["objects"][0] for line in told(capsys)]
    placed = ["position_m" in item for item in items]
    assert placed == [index < (missing.get("infos", 3)) for index in range(COUNT)]
    assert {item["no_position"]["cause"] for item in items if "no_position" in item} == {cause}


def test_a_film_s_last_image_waits_for_what_comes_after_it_when_no_more_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = detect(drive(tmp_path / "drive"), "--depth-topic", "/depth", "--target-frame", "map", "--max-frames", "1")
    assert code == 0
    (line,) = told(capsys)
    assert line["objects"][0]["position_frame"] == "map"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--depth-topic", "/far"), 1, "has no depth topic /far, but /depth: name one of them"),
        (("--depth-topic", "/words"), 1, "depth topic /words, which is std_msgs/msg/String, but /depth: name one"),
        (("--depth-topic", "/front/camera_info"), 1, "which is sensor_msgs/msg/CameraInfo, but /depth: name one"),
        (("--depth-topic", "/tf"), 1, "which is tf2_msgs/msg/TFMessage, but /depth: name one"),
        (("--depth-topic", "/front/image_raw"), 1, "which is the camera itself, but /depth: name one"),
        (("--target-frame", "map"), 2, "--target-frame map needs depth: name its topic with --depth-topic"),
    ],
)
def test_depth_that_is_not_there_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended, engine = detect(drive(tmp_path / "drive"), *arguments)
    assert (ended, engine.loaded) == (code, 0)
    assert said in capsys.readouterr().err


def test_topics_beside_depth_that_are_of_another_type_are_told_and_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = make(TEXT, data="x")
    recorded = [(topic, 0, words) for topic in ("/front/camera_info", "/tf", "/tf_static")]
    bag = write_bag(tmp_path / "drive", [*recorded, ("/depth", 1, depth(0)), ("/front/image_raw", 2, image(0))])
    assert detect(bag, "--depth-topic", "/depth", "--target-frame", "map")[0] == 0
    out, err = capsys.readouterr()
    for topic in ("/front/camera_info", "/tf", "/tf_static"):
        assert err.count(f"{topic} of {bag} is {TEXT}, no ") == 1
    assert json.loads(out)["objects"][0]["no_position"]["cause"] == "no_camera_info"


def test_depth_where_nothing_can_be_placed_by_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag, picture = drive(tmp_path / "drive"), tmp_path / "a.png"
    Image.new("RGB", WH).save(picture)
    more = ("--depth-topic", "/depth", "--max-frames", "1")
    code, engine = detect(bag, *more, "--target-frame", "map", "--task", "watch")
    assert (code, engine.loaded) == (2, 0)
    assert "leave --depth-topic, --target-frame out" in capsys.readouterr().err
    assert detect(bag, *more)[0] == 0
    assert "no bags" not in capsys.readouterr().err
    assert detect(bag, picture, *more)[0] == 0
    assert "--depth-topic is of bags, and 1 of 2 inputs are none: it does nothing for these" in capsys.readouterr().err


def test_a_transform_or_message_that_cannot_be_used_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = transforms(0, "map", "map")
    recorded = [("/tf", index * 10**6, bad) for index in range(3)]
    recorded += [("/depth", 0, b"short"), ("/depth", 1, b"short"), ("/front/image_raw", 4 * 10**6, image(0))]
    bag = write_bag(tmp_path / "drive", recorded)
    more = ("--depth-topic", "/depth", "--target-frame", "map")
    assert detect(bag, *more)[0] == 0
    err = capsys.readouterr().err
    assert err.count("needs the names of two frames") == 1
    assert err.count("5 bytes are no sensor_msgs/msg/Image") == 1
