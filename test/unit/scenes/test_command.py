"""The example pictures of docs/tools.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlm_perception.frames.files import frames_of
from vlm_perception.scenes.__main__ import main


def refuse(error: Exception) -> None:
    raise error


def test_images_and_a_video_are_drawn_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "pictures"
    assert main([str(folder), "--images", "2", "--frames", "3"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "scene_1.png", "scene_2.png", "truth.json"]
    assert [len(list(frames_of(path, False, refuse))) for path in sorted(folder.glob("*.*[4g]"))] == [3, 1, 1]
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.partition(": ")[0]).name for line in lines] == [
        "scene_1.png",
        "scene_2.png",
        "truth.json",
        "clip.mp4",
    ]
    truth = json.loads((folder / "truth.json").read_text())
    labels = {category["id"]: category["name"] for category in truth["categories"]}
    for image, line in zip(truth["images"], lines, strict=False):
        named = [labels[one["category_id"]] for one in truth["annotations"] if one["image_id"] == image["id"]]
        assert named == [label for label in line.partition(": ")[2].split(", ") if label != "shadow"]
    assert all(line.partition(": ")[2] for line in lines)


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err
