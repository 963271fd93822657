"""Names on a command line become files, and files become pictures, each once and none in silence."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from vlm_perception.apps.detect.inputs import Picture, Thinning, expected_count, find_inputs, read_pictures
from vlm_perception.errors import ImageError

RATE_HZ = 10.0
FRAMES = 12


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24)).save(path)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE_HZ, (64, 48))
    for level in range(FRAMES):
        writer.write(np.full((48, 64, 3), level * 20, np.uint8))
    writer.release()
    return path


def names(found: tuple[Path, ...]) -> list[str]:
    return [path.name for path in found]


def frames_of(path: Path, thinning: Thinning) -> list[Picture]:
    return list(read_pictures(path, thinning, pytest.fail))


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


def test_every_frame_has_its_number_and_time(clip: Path) -> None:
    pictures = frames_of(clip, Thinning())
    assert [picture.frame_index for picture in pictures] == list(range(FRAMES))
    np.testing.assert_allclose([picture.time_s for picture in pictures], np.arange(FRAMES) / RATE_HZ, atol=1e-3)
    np.testing.assert_allclose([picture.rgb[0, 0, 0] for picture in pictures], np.arange(FRAMES) * 20, atol=6)
    assert pictures[3].title == f"{clip} frame 3"


@pytest.mark.parametrize(
    ("thinning", "expected"),
    [
        (Thinning(every=5), [0, 5, 10]),
        (Thinning(every=5, max_frames=2), [0, 5]),
        (Thinning(max_frames=3), [0, 1, 2]),
        (Thinning(max_frames=99), list(range(FRAMES))),
        (Thinning(rate_hz=5.0), [0, 2, 4, 6, 8, 10]),
        # 4 Hz out of 10 Hz: the beat is kept on average, not rounded down to every third frame.
        (Thinning(rate_hz=4.0), [0, 3, 5, 8, 10]),
        (Thinning(rate_hz=1000.0), list(range(FRAMES))),
        (Thinning(rate_hz=0.1), [0]),
    ],
)
def test_a_video_is_thinned_out(clip: Path, thinning: Thinning, expected: list[int]) -> None:
    assert [picture.frame_index for picture in frames_of(clip, thinning)] == expected
    assert expected_count([clip, Path("a.png")], thinning) == len(expected) + 1


def test_a_video_that_ends_early_is_told(tmp_path: Path) -> None:
    """As after a download that broke off: the index in front promises more than there is."""
    path = tmp_path / "cut.mp4"
    rng = np.random.default_rng(2)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(FRAMES):
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    assert len(frames_of(path, Thinning())) == FRAMES
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    notes: list[str] = []
    read = len(list(read_pictures(path, Thinning(), notes.append)))
    assert 0 < read < FRAMES
    assert len(notes) == 1
    assert f"ended after {read} of {FRAMES} frames" in notes[0]


@pytest.mark.parametrize("content", [b"", b"no film" * 50])
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"film\.mp4.*convert it"):
        frames_of(path, Thinning())


def test_an_image_has_no_number_and_no_time(tmp_path: Path) -> None:
    (picture,) = frames_of(save(tmp_path / "a.png"), Thinning(every=7))
    assert (picture.frame_index, picture.time_s, picture.title) == (None, None, str(tmp_path / "a.png"))
