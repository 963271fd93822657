"""Names on a command line become files, and files become pictures, each once and none in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from recorded_bags import camera, write_bag

from vlm_perception.apps.detect.inputs import expected_count, find_inputs, read_pictures
from vlm_perception.frames.videos import Thinning


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24)).save(path)
    return path


def names(found: tuple[Path, ...]) -> list[str]:
    return [path.name for path in found]


def test_a_folder_means_its_images_and_videos_in_order_and_tells_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "sub/c.png"):
        save(tmp_path / name)
    for name in ("film.mp4", "notes.txt", "raw.heic", "README"):
        (tmp_path / name).touch()
    found = find_inputs([str(tmp_path)])
    assert names(found.files) == ["a.jpg", "b.PNG", "film.mp4"]
    assert not found.failures
    (note,) = found.notes
    assert "3 files" in note
    assert ".heic" in note
    assert "no ending" in note


def test_patterns_are_expanded_here_when_the_shell_has_not(tmp_path: Path) -> None:
    for name in ("x1.png", "x2.png", "y.png", "deep/er/x3.png"):
        save(tmp_path / name)
    assert names(find_inputs([f"{tmp_path}/x*.png"]).files) == ["x1.png", "x2.png"]
    assert names(find_inputs([f"{tmp_path}/x[12].png"]).files) == ["x1.png", "x2.png"]
    assert names(find_inputs([f"{tmp_path}/**/*.png"]).files) == ["x3.png", "x1.png", "x2.png", "y.png"]
    assert names(find_inputs([f"{tmp_path}/**"]).files) == ["x3.png", "x1.png", "x2.png", "y.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    save(tmp_path / "[a].png")
    assert names(find_inputs([str(tmp_path / "[a].png")]).files) == ["[a].png"]


def test_home_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "a.png")
    assert find_inputs(["~/a.png"]).files == (tmp_path / "a.png",)
    assert find_inputs(["~/*.png"]).files == (tmp_path / "a.png",)
    assert [failure.source for failure in find_inputs(["~nobody-of-that-name/a.png"]).failures]


def test_what_is_named_twice_is_answered_once(tmp_path: Path) -> None:
    first = save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(first)
    found = find_inputs([str(first), str(tmp_path), f"{tmp_path}/*.png"])
    assert names(found.files) == ["a.png"]
    assert "4 files were named more than once" in found.notes[0]


@pytest.mark.parametrize("name", ["missing.png", "nothing/*.png", "empty", "a" * 5000])
def test_a_name_that_leads_to_nothing_is_a_failure_that_says_which(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    good = save(tmp_path / "good.png")
    wrong = str(tmp_path / name)
    found = find_inputs([wrong, str(good)])
    assert found.files == (good,)
    (failure,) = found.failures
    assert failure.source == wrong
    assert wrong in failure.message


def test_a_frame_has_its_number_and_time_and_an_image_neither(tmp_path: Path) -> None:
    image, clip = save(tmp_path / "a.png"), tmp_path / "clip.gif"
    grey = [Image.new("L", (32, 24), level) for level in (0, 99)]
    grey[0].save(clip, save_all=True, append_images=grey[1:], duration=200)
    thinning = Thinning()
    pictures = list(read_pictures([image, clip], thinning, pytest.fail))
    assert [(picture.title, picture.frame_index, picture.time_s) for picture in pictures] == [
        (str(image), None, None),
        (f"{clip} frame 0", 0, 0.0),
        (f"{clip} frame 1", 1, 0.2),
    ]
    assert expected_count([image, clip], thinning) == 3


def test_a_bag_is_one_input_and_a_folder_with_pictures_is_none(tmp_path: Path) -> None:
    drive = write_bag(tmp_path / "drive", camera(3))
    crashed = write_bag(tmp_path / "crashed", camera(3), "sqlite3")
    (crashed / "metadata.yaml").unlink()
    mixed = tmp_path / "mixed"
    save(mixed / "a.png")
    (mixed / "b.mcap").write_bytes((drive / "drive.mcap").read_bytes())
    given = [str(path) for path in (drive, crashed, crashed / "crashed.db3", mixed)] + [f"{tmp_path}/dri*/*.mcap"]
    found = find_inputs(given)
    assert names(found.files) == ["drive", "crashed", "crashed.db3", "a.png", "b.mcap", "drive.mcap"]
    assert not found.failures
    assert expected_count(found.files, Thinning()) == 3 * 5 + 1
    assert len(list(read_pictures(found.files, Thinning(), pytest.fail))) == 3 * 5 + 1
