"""What was found in a bag keeps its id, and is followed over the frames between those that are asked about."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from checkout import ROOT
from recorded_bags import START_S, image, write_bag
from rosbags.highlevel import AnyReader
from spoken import SpokenEngine

from vlm_perception.apps.detect import command as cli
from vlm_perception.frames.bags import open_bag

WIDTH, HEIGHT, STEP_PX, COUNT, EVERY = 160, 120, 3, 16, 5
SPECKLED = np.random.default_rng(3).integers(0, 255, (2, 15, 20, 3), np.uint8)
WALL, THING = (cv2.resize(each, wh) for each, wh in zip(SPECKLED, ((WIDTH, HEIGHT), (40, 30)), strict=True))


def box(index: int) -> list[int]:
    left = 20 + STEP_PX * index
    return [left, 40, left + 40, 70]


def film(index: int, encoding: str = "rgb8") -> Any:
    left, top, right, bottom = box(index)
    rgb = WALL.copy()
    rgb[top:bottom, left:right] = THING
    return image(index, encoding, height=HEIGHT, width=WIDTH, step=WIDTH * 3, data=rgb.ravel())


def drive(folder: Path, count: int = COUNT, broken: int | None = None) -> Path:
    films = [film(index, "no encoding" if index == broken else "rgb8") for index in range(count)]
    return write_bag(folder, [("/image", index * 10**8 + 5, message) for index, message in enumerate(films)])


def detect(*arguments: object) -> int:
    engine = SpokenEngine()

    def see(asked: int) -> None:
        engine.reply = json.dumps([{"bbox_2d": box((asked - 1) * EVERY), "label": "red cup"}])

    engine.before_answer = see
    return cli.main([*map(str, arguments), "--prompt", "red cup", "--every", str(EVERY)], engine.make)


def read(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([folder]) as reader:
        for each, recorded_ns, data in reader.messages():
            name = each.topic.removeprefix("/vlm_perception/")
            found.setdefault(name, []).append((recorded_ns, reader.deserialize(data, each.msgtype)))
    return found


def test_every_frame_has_tracks_under_its_own_stamp_and_answers_have_their_ids(tmp_path: Path) -> None:
    assert detect(drive(tmp_path / "drive"), "--output-bag", tmp_path / "found") == 0
    told = read(tmp_path / "found")
    assert [ns for ns, _ in told["tracks"]] == [START_S * 10**9 + index * 10**8 + 5 for index in range(COUNT)]
    for index, (_, array) in enumerate(told["tracks"]):
        assert (array.header.stamp.nanosec, array.header.frame_id) == (film(index).header.stamp.nanosec, "lens")
        (track,) = array.detections
        assert (track.id, track.results[0].hypothesis.class_id) == ("1", "red cup")
        assert track.bbox.center.position.x == pytest.approx(box(index)[0] + 20, abs=2)
        assert track.bbox.center.position.y == pytest.approx(55, abs=2)
    assert [[each.id for each in array.detections] for _, array in told["detections"]] == [["1"]] * 4
    assert [json.loads(text.data)["objects"][0]["id"] for _, text in told["answer"]] == ["1"] * 4


KILLED = """
import os, signal, sys
from spoken import SpokenEngine
from vlm_perception.apps.detect import command
engine = SpokenEngine()
engine.before_answer = lambda asked: os.kill(os.getpid(), signal.SIGKILL) if asked == 4 else None
command.main([*sys.argv[1:], "--prompt", "red cup", "--every", "5", "--output-bag", "found"], engine.make)
"""


def test_what_was_answered_before_kill_9_is_read_from_the_bag_of_results(tmp_path: Path) -> None:
    bag, path = drive(tmp_path / "drive"), os.pathsep.join([str(ROOT), str(ROOT / "test" / "strategies")])
    command = [sys.executable, "-c", KILLED, str(bag)]
    ended = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    with open_bag(tmp_path / "found", print) as results:
        counts = {name: len(list(results.messages([name]))) for name in results.topics}
        images = [image.read().header for image in results.images("/vlm_perception/annotated_image/compressed")]
    names = ("detections", "answer", "annotated_image/compressed")
    assert [counts[f"/vlm_perception/{name}"] for name in names] == [3, 3, 3]
    # Those between the last answer and the next were still to be written.
    assert counts["/vlm_perception/tracks"] == 2 * EVERY + 1
    assert [header.stamp_nanosec for header in images] == [index * EVERY * 10**8 % 10**9 + 7 for index in range(3)]
    assert not (tmp_path / "found" / "metadata.yaml").exists()


@pytest.mark.parametrize(("tracking", "name"), [("ids", "1"), ("off", "")])
def test_tracking_is_as_the_node_s(tmp_path: Path, tracking: str, name: str) -> None:
    assert detect(drive(tmp_path / "drive"), "--output-bag", tmp_path / "found", "--tracking", tracking) == 0
    told = read(tmp_path / "found")
    assert "tracks" not in told
    assert [each.id for _, array in told["detections"] for each in array.detections] == [name] * 4


def test_another_bag_begins_anew_and_a_broken_frame_between_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bags = drive(tmp_path / "a", 3), drive(tmp_path / "b", 3, broken=1)
    engine = SpokenEngine(json.dumps([{"bbox_2d": box(0), "label": "red cup"}]))
    arguments = [*map(str, bags), "--prompt", "red cup", "--every", "5", "--output-bag", str(tmp_path / "found")]
    assert cli.main(arguments, engine.make) == 0
    told = [[each.id for each in array.detections] for _, array in read(tmp_path / "found")["tracks"]]
    # By time of recording, which is the same in both.
    assert sorted(told) == [["1"]] * 3 + [["2"]] * 2
    assert "image 1 of /image" in capsys.readouterr().err
