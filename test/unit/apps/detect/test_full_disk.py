"""A disk that is full in mid-run: one clear line, exit code 2, and nothing that is only half written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from small_disk import small_disk, small_files
from spoken import SpokenEngine

from vlm_perception.apps.detect import command as cli

ROOM_BYTES = 300_000
WH = (256, 256)  # noise, so that a PNG of it takes 196 kB: one fits, two do not
REPLY = '[{"bbox_2d": [4, 6, 200, 230], "label": "red cup"}]'
TALK = "so much to say. " * 5000


@pytest.fixture(params=["full disk", "file size limit"])
def full_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own that is soon full; where that may not be mounted, files cannot grow any more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "full disk":
        with small_disk(folder, ROOM_BYTES):
            yield folder
    else:
        yield folder


@pytest.fixture
def detect(full_disk: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[..., str]:
    """Run the command until the disk is full, and return what it said."""

    def run(*arguments: object, reply: str = REPLY + TALK) -> str:
        limit = small_files(ROOM_BYTES // 2) if "file size limit" in request.node.name else nullcontext()
        with limit:
            code = cli.main([*map(str, arguments), "--prompt", "red cup", "--quiet"], SpokenEngine(reply).make)
        assert code == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line != "a library that prints")
        assert "No space left on device" in line or "File too large" in line
        assert "free space" in line
        assert str(full_disk) in line
        return line

    return run


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*WH, 3), np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate("abc"):
        Image.fromarray(noise(number)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "noise.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, WH)
    for number in range(12):
        writer.write(noise(number))
    writer.release()
    return path


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("pictures", "--annotated DISK --output /dev/null"),
        ("pictures", "--format yolo --output DISK"),
        ("noise.mp4", "--frames DISK --output /dev/null"),
    ],
)
def test_images_are_whole_or_not_there(
    detect, pictures: Path, video: Path, full_disk: Path, source: str, arguments: str
) -> None:
    if video.name == source and not full_disk.is_mount():
        pytest.skip("a frame is smaller than the limit")
    detect(video.with_name(source), *arguments.replace("DISK", str(full_disk)).split())
    left = [path for path in files_below(full_disk) if path.suffix in (".png", ".jpg")]
    assert len(left) < 12
    assert not [path for path in files_below(full_disk) if path.name.startswith(".")]
    for path in left:
        # Annotated ones have a bar below.
        assert np.asarray(Image.open(path)).shape in ((*WH, 3), (WH[1] + 32, WH[0], 3))


def test_an_annotated_video_without_its_end_is_removed(detect, video: Path, full_disk: Path) -> None:
    assert "noise.mp4" in detect(video, "--annotated", full_disk, "--output", "/dev/null")
    assert files_below(full_disk) == []


def test_json_lines_end_with_a_whole_line(detect, video: Path, full_disk: Path) -> None:
    detect(video, "--output", full_disk / "out.jsonl")
    text = (full_disk / "out.jsonl").read_text()
    assert text == "" or text.endswith("\n")
    assert len([json.loads(line) for line in text.splitlines()]) < 12


def test_a_coco_file_of_an_earlier_run_stays(detect, pictures: Path, full_disk: Path) -> None:
    earlier = full_disk / "coco.json"
    earlier.write_text('{"of": "an earlier run"}\n')
    long = REPLY[:-2] + ', "sub_label": "' + "x" * ROOM_BYTES + '"}]'
    detect(pictures / "a.png", "--format", "coco", "--output", earlier, reply=long)
    assert files_below(full_disk) == [earlier]
    assert json.loads(earlier.read_text()) == {"of": "an earlier run"}


def test_a_comparison_of_an_earlier_run_stays(detect, pictures: Path, full_disk: Path) -> None:
    earlier = full_disk / "found.json"
    earlier.write_text('{"of": "an earlier run"}\n')
    long = REPLY[:-2] + ', "sub_label": "' + "x" * ROOM_BYTES + '"}]'
    arguments = ("--compare", "", "--compare", "max_pixels=90000", "--output", earlier)
    assert "found.json" in detect(pictures / "a.png", *arguments, reply=long)
    assert files_below(full_disk) == [earlier]
    assert json.loads(earlier.read_text()) == {"of": "an earlier run"}


def test_what_fits_replaces_an_earlier_file_and_leaves_nothing_beside_it(pictures: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere.json"
    out.mkdir()
    elsewhere.write_text("old")
    (out / "link.json").symlink_to(elsewhere)
    arguments = [str(pictures), "--format", "coco", "--output", str(out / "link.json"), "--annotated", str(out)]
    assert cli.main([*arguments, "--prompt", "red cup", "--quiet"], SpokenEngine(REPLY + TALK).make) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png", "link.json"]
    assert len(json.loads(elsewhere.read_text())["images"]) == 3


def test_an_annotated_video_that_fits_is_whole(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [str(video), "--annotated", str(out), "--output", str(tmp_path / "out.jsonl")]
    assert cli.main([*arguments, "--prompt", "red cup", "--quiet"], SpokenEngine(REPLY + TALK).make) == 0
    assert [path.name for path in out.iterdir()] == ["noise.mp4"]
    with av.open(str(out / "noise.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
