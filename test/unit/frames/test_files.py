from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from vlm_perception.errors import ImageError
from vlm_perception.frames.files import frames_of, read_image


def save(path, level, size_wh=(32, 24)):
    Image.new("RGB", size_wh, (level, 0, 0)).save(path)
    return path


def levels(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def refuse(error):
    raise AssertionError(error)


def test_one_image_once_or_again_and_again(tmp_path):
    path = save(tmp_path / "a.png", 7)
    assert levels(frames_of(path, False, refuse)) == [7]
    endless = frames_of(path, True, refuse)
    assert levels(next(endless) for _ in range(3)) == [7, 7, 7]


def test_a_folder_in_order_of_names_without_what_is_no_image(tmp_path):
    for name, level in (("b.PNG", 2), ("a.bmp", 1), ("c.tiff", 3)):
        save(tmp_path / name, level)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "b2.jpg").write_bytes(b"broken")
    skipped = []
    assert levels(frames_of(tmp_path, False, skipped.append)) == [1, 2, 3]
    assert [(error.cause, "b2.jpg" in str(error)) for error in skipped] == [("undecodable", True)]


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 16)).save(tmp_path / "phone.jpg", exif=exif)
    assert next(frames_of(tmp_path / "phone.jpg", False, refuse)).shape == (32, 16, 3)


def test_a_cut_off_image_is_refused_instead_of_filled_with_grey(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a.jpg", "a.png"):
        path = tmp_path / name
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(ImageError, match=name):
            read_image(path)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode).save(path)
    assert read_image(path).shape == (6, 8, 3)
    assert read_image(path).min() >= 250


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.full((6, 8), 0x8000, np.uint16))
    np.testing.assert_allclose(read_image(path), 128, atol=1)


def test_a_video_once_or_again_and_again(tmp_path):
    path = tmp_path / "clip.gif"
    first, *others = [Image.new("L", (32, 24), level) for level in (0, 80, 160)]
    first.save(path, save_all=True, append_images=others)
    assert levels(frames_of(path, False, refuse)) == [0, 80, 160]
    twice = frames_of(path, True, refuse)
    assert levels(next(twice) for _ in range(6)) == [0, 80, 160] * 2


def test_what_cannot_be_read_is_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no png")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film")
    for path, cause in (
        (tmp_path / "missing.png", "missing_file"),
        (tmp_path / "empty", "no_images"),
        (broken, "undecodable"),
        (film, "undecodable"),
    ):
        with pytest.raises(ImageError, match=path.name) as caught:
            next(frames_of(path, True, lambda _error: None))
        assert caught.value.cause == cause
