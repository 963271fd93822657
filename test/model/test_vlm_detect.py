"""`vlm-detect` with the real tiny model: as a process of its own without ROS, and the page about it as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import supervision as sv
from checkout import ROOT
from PIL import Image
from recorded_bags import IMAGE, STORE, header, write_bag

from training.watching import clause
from vlm_perception.apps.detect import command as cli
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.scenes import MovingScene
from vlm_perception.scenes.__main__ import main as draw_scenes
from vlm_perception.scenes.clips import Happening
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.world.boxes import match_boxes

PAGE = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8").partition("\n## vlm-perception-evaluate")[0]
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
WH = (640, 480)
PATIENCE_S = 240
# Loaded by Python itself before anything else, it makes a machine without ROS out of this one.
NO_ROS = """
import sys
class NoRos:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ("rclpy", "ament_index_python") or top.endswith(("_msgs", "_srvs", "_interfaces")):
            raise ModuleNotFoundError(f"No module named {name!r} (blocked by the test)")
sys.meta_path.insert(0, NoRos())
"""


class KeptEngine(TransformersEngine):
    """Stays loaded from one command to the next."""

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def engine() -> Iterator[KeptEngine]:
    settings = Settings.from_mapping({"model": resolve_model("tiny")})
    engine = KeptEngine(lambda: settings)
    engine.load()
    yield engine
    TransformersEngine.close(engine)


def start(tmp_path: Path, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    """Start the command as it is installed, on a machine without ROS and without a terminal."""
    blocked = tmp_path / "no_ros"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(NO_ROS)
    environment = {**os.environ, "PYTHONPATH": f"{blocked}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vlm_perception.startup.commands", "vlm-detect", *arguments, "--model", "tiny"]
    return subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def write_video(path: Path, scene: MovingScene, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, WH)
    for index in range(frames):
        writer.write(cv2.cvtColor(scene.at(index / 10).rgb, cv2.COLOR_RGB2BGR))
    writer.release()


def truths(scene: MovingScene, time_s: float = 0.0) -> list[Any]:
    return [truth.xyxy for truth in scene.at(time_s).truths if truth.label != "shadow"]


def test_image_folder_pattern_and_video_without_ros(tmp_path: Path) -> None:
    scenes = {f"{seed}.png": MovingScene(seed, WH, 2) for seed in (9001, 9002, 9003)}
    (tmp_path / "folder").mkdir()
    for name, scene in scenes.items():
        Image.fromarray(scene.at(0.0).rgb).save(tmp_path / "folder" / name)
    os.rename(tmp_path / "folder" / "9001.png", tmp_path / "9001.png")
    film = MovingScene(9000, WH, 2)
    write_video(tmp_path / "clip.mp4", film, 4)
    (tmp_path / "bad.png").write_bytes(b"no image")
    inputs = ["9001.png", "folder", "**/9003.p?g", "clip.mp4", "bad.png"]
    options = ["--prompt", "all objects", "--every", "3", "--stream", "--annotated", "annotated"]
    process = start(tmp_path, *inputs, *options)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, err
    assert [line.partition(":")[0] for line in err.splitlines()] == ["vlm-detect"] * 5, err
    assert "--every is of videos and bags, and 4 of 5 inputs are none" in err
    assert "knows drawn scenes only" in err
    assert re.search(r"bad\.png cannot be decoded.*\n.*5 answered, \d+ objects, 1 failed", err), err

    told = [json.loads(line) for line in out.splitlines()]
    answers = [line for line in told if line.get("partial") is False]
    where = [(line["source"], line["frame_index"]) for line in answers]
    images = [("9001.png", None), ("folder/9002.png", None), ("folder/9003.png", None)]
    assert where == [*images, ("clip.mp4", 0), ("clip.mp4", 3)]
    assert [line["source"] for line in told if "error" in line] == ["bad.png"]
    true = [truths(scene) for scene in scenes.values()] + [truths(film), truths(film, 0.3)]
    found = [[item["bbox_xyxy"] for item in line["objects"]] for line in answers]
    matched = [pair for boxes, truth in zip(found, true, strict=True) for pair in match_boxes(boxes, truth)]
    right = sum(overlap >= 0.5 for _, _, overlap in matched)
    assert right >= 0.7 * sum(map(len, true))

    streamed = [line["object"] for line in told if line.get("partial")]
    assert streamed == [item for line in answers for item in line["objects"]]
    annotated = tmp_path / "annotated"
    assert sorted(path.name for path in annotated.iterdir()) == ["9001.png", "9002.png", "9003.png", "clip.mp4"]
    drawn = np.asarray(Image.open(annotated / "9001.png"))
    assert drawn.shape == (480 + 32, 640, 3)
    assert not np.array_equal(drawn[:480], scenes["9001.png"].at(0.0).rgb)
    with av.open(str(annotated / "clip.mp4")) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([0.0, 0.3])


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", MovingScene(9000, WH, 2), 400)
    process = start(tmp_path, "clip.mp4", "--prompt", "all objects", "--annotated", "annotated")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    answers = [json.loads(line) for line in (first + rest).splitlines()]
    assert 1 <= len(answers) < 400
    with av.open(str(tmp_path / "annotated" / "clip.mp4")) as container:
        assert len(list(container.decode(video=0))) == len(answers)


def test_the_page_s_examples_run_as_they_stand(
    tmp_path: Path, engine: KeptEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw, *commands = [shlex.split(line) for line in COMMANDS]
    assert draw == ["python", "-m", "vlm_perception.scenes", "pictures"]
    assert draw_scenes(draw[3:]) == 0
    written = capsys.readouterr().out
    outs = []
    for program, *arguments in commands:
        assert program == "vlm-detect"
        assert cli.main(arguments, lambda settings: engine) == 0, capsys.readouterr().err
        outs.append(capsys.readouterr().out)
    assert [path.name for path in (tmp_path / "pictures").iterdir() if path.name not in written] == []
    one, folder, pattern, points, stream, coco, yolo, film, *compared = (out.splitlines() for out in outs)
    assert len(json.loads(one[0])["objects"]) == 3
    assert folder == []
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 4 + 5
    assert len(list((tmp_path / "annotated").iterdir())) == 5
    assert [json.loads(line)["count"] for line in pattern] == [0, 0, 0, 2]
    assert all(item["point_xy"] for item in json.loads(points[0])["objects"])
    assert len(stream) == len(json.loads(stream[-1])["objects"]) + 1
    assert coco == yolo == []
    read = sv.DetectionDataset.from_coco("frames", "found.json")
    assert [len(found) >= 2 for _, _, found in read] == [True, True]
    data = sv.DetectionDataset.from_yolo("dataset/images", "dataset/labels", data_yaml_path="dataset/data.yaml")
    assert data.classes[:2] == ["red face", "red cart"]
    assert [len(found) for _, _, found in data] == [1, 1]
    (watched,) = map(json.loads, film)
    ((label, what, direction, *times),) = re.findall(r"mp4: (\w+ \w+) (\w+) (\w+), ([\d.]+) s to ([\d.]+) s", written)
    (event,) = watched["events"]
    assert (event["start_s"], event["end_s"]) == pytest.approx(tuple(map(float, times)), abs=0.5)
    assert clause(Happening(label, what, direction, *map(float, times))) in event["text"]
    told = re.compile(r"(\d) pictures, (\d) about which they differ; wrote comparison.json and comparison.png")
    pictures, differ = zip(*(told.fullmatch(table[-1]).groups() for table in compared), strict=True)
    assert (pictures, differ[-1]) == (("4", "4", "1"), "1"), "models and areas may agree, prompts for other things not"


def test_the_page_names_every_option_and_exit_code() -> None:
    options = {name for action in cli.parser()._actions for name in action.option_strings if name.startswith("--")}
    assert [name for name in sorted(options - {"--help", "--version", "--fail-fast"}) if name not in PAGE] == []
    assert {f"| {code} |" for code in (0, 1, 2, 130, 141, 143)} <= set(re.findall(r"^\| \d+ \|", PAGE, re.MULTILINE))


def test_two_families_are_compared_on_the_page_s_pictures(tmp_path: Path) -> None:
    """The first example as it stands; in the test of all examples one model answers for both."""
    (command,) = (shlex.split(line) for line in COMMANDS if "tiny-qwen3-vl" in line)
    assert draw_scenes([str(tmp_path / "pictures"), "--frames", "0"]) == 0
    process = start(tmp_path, *command[1:])
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out.splitlines()[-1].startswith("4 pictures, ")
    found = json.loads((tmp_path / "comparison.json").read_text())
    first, second = found["variants"]
    assert (first["answered"], second["answered"], found["complete"]) == (4, 4, True)
    assert second["agreement"] > 0.7
    assert 0 < first["latency_p50_s"] <= first["latency_p95_s"]
    sizes = {letter: {tuple(each["answers"][letter]["model_wh"]) for each in found["frames"]} for letter in "AB"}
    assert sizes["A"] != sizes["B"], "each family has a resize rule of its own"
    with Image.open(tmp_path / "comparison.png") as sheet:
        assert sheet.width == 2 * 808


def test_points_left_out_of_boxes_are_told(
    tmp_path: Path, engine: KeptEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(MovingScene(9001, WH, 2).at(0.0).rgb).save("face.png")
    arguments = ["face.png", "--prompt", "point: eyes", "--format", "coco"]
    assert cli.main(arguments, lambda settings: engine) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["annotations"] == []
    assert re.search(r"vlm-detect: [12] points left out: COCO", err)


def test_the_default_engine_takes_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # It would silence the libraries for all tests of this process.
    monkeypatch.setattr("vlm_perception.apps.quiet.silence_libraries", lambda program, progress: None)
    settings = Settings.from_mapping({"model": "/nowhere", "device": "cpu"})
    made = cli._quiet_engine(settings)
    assert (made.name, made.describe()["device"]) == ("/nowhere", "cpu")


def test_a_bag_is_answered_without_ros_and_what_was_answered_before_ctrl_c_is_whole(tmp_path: Path) -> None:
    film = MovingScene(9005, WH, 2)
    fields = {"height": WH[1], "width": WH[0], "encoding": "rgb8", "is_bigendian": 0, "step": WH[0] * 3}
    messages = [
        ("/front/image", n * 10**8, STORE.types[IMAGE](header=header(n), data=film.at(n / 10).rgb.ravel(), **fields))
        for n in range(200)
    ]
    write_bag(tmp_path / "drive", messages)
    process = start(tmp_path, "drive", "--prompt", "all objects", "--every", "0.1s")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    told = [json.loads(line) for line in (first + rest).splitlines()]
    assert 1 <= len(told) < 200
    assert [line["stamp"]["nanosec"] for line in told] == [n % 10 * 10**8 + 7 for n in range(len(told))]
    assert {line["camera"] for line in told} == {"/front/image"}
    assert any(line["objects"] for line in told)
