from __future__ import annotations

import sys
import warnings
from contextlib import suppress

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from vlm_perception.errors import ImageError
from vlm_perception.frames.files import frames_of, is_video, left_out, read_image, usual_suffix, worth_reading
from vlm_perception.frames.videos import ALL_FRAMES, expected_frames, read_video, video_rate_hz

RED_LEFT = Image.new("RGB", (32, 16), (0, 0, 255))
RED_LEFT.paste((255, 0, 0), (0, 0, 16, 16))
SHADES = [Image.new("RGB", (32, 24), (level, 0, 0)) for level in (0, 80, 160)]
MOVING = {"save_all": True, "append_images": SHADES[1:]}


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


@pytest.mark.parametrize(
    ("name", "file_format"),
    [
        *((f"photo{ending}", "JPEG") for ending in (".jfif", ".jpe", ".JPG", "", ".mp4", ".txt", ".png")),
        ("photo.jpg", "PNG"),
        ("photo.dat", "WEBP"),
        ("photo.gif", "TIFF"),
        ("photo.avif", "AVIF"),
        ("photo.mov", "MPO"),
    ],
)
def test_a_photo_is_turned_upright_whatever_its_name_ends_in(tmp_path, name, file_format):
    path = tmp_path / name
    exif = Image.Exif()
    exif[0x0112] = 6
    RED_LEFT.save(path, file_format, exif=exif)
    assert not is_video(path)
    (rgb,) = frames_of(path, False, refuse)
    # Turned by a quarter clockwise, left is above.
    assert rgb.shape == (32, 16, 3)
    assert rgb[4, 8, 0] > 200 > 60 > rgb[28, 8, 0]


def test_a_photo_of_a_phone_is_read_where_its_decoder_is_installed_and_else_told(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.jpg"
    heif.from_pillow(RED_LEFT).save(path, quality=95)
    assert not is_video(path)
    rgb = read_image(path)
    assert rgb.shape == (16, 32, 3)
    assert rgb[8, 4, 0] > 200 > 60 > rgb[8, 28, 0]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"HEIC photo.*pip install pillow-heif, or save it as JPEG"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "file_format", "options", "step_s"),
    [
        ("clip.gif", "GIF", {"duration": 200}, 0.2),
        ("no_rate.gif", "GIF", {"duration": 0}, 0.1),
        ("clip.webp", "WEBP", {"duration": 200, "lossless": True}, 0.2),
        ("clip.png", "PNG", {"duration": 200}, 0.2),
        ("clip.png", "PNG", {"duration": 200, "default_image": True}, 0.2),
        ("clip.jpg", "WEBP", {"duration": 40, "lossless": True}, 0.04),
        ("clip.avif", "AVIF", {"duration": 200, "quality": 100, "subsampling": "4:4:4"}, 0.2),
        ("scan.tiff", "TIFF", {}, 1.0),
        ("scan", "TIFF", {"compression": "tiff_lzw"}, 1.0),
    ],
)
def test_animations_and_pages_are_frames_with_numbers_and_times(tmp_path, name, file_format, options, step_s):
    path = tmp_path / name
    first = SHADES[0]
    moving = dict(MOVING)
    if options.get("default_image"):
        first, moving["append_images"] = Image.new("RGB", (32, 24), (0, 255, 0)), SHADES
    first.save(path, file_format, **moving, **options)
    assert is_video(path)
    frames = list(read_video(path, note=refuse))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.time_s for frame in frames] == pytest.approx([0, step_s, 2 * step_s])
    np.testing.assert_allclose([frame.rgb[5, 5] for frame in frames], [(0, 0, 0), (80, 0, 0), (160, 0, 0)], atol=4)
    assert expected_frames(path, ALL_FRAMES) == 3
    assert video_rate_hz(path) == pytest.approx(1 / step_s)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_a_single_picture_of_a_format_that_can_move_is_an_image(tmp_path, file_format):
    path = tmp_path / "still"
    SHADES[1].save(path, file_format)
    assert not is_video(path)
    assert read_image(path)[5, 5, 0] == pytest.approx(80, abs=4)


def page(image, **tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info.update(tags.get("tags", {}))
    image.encoderinfo = {"tiffinfo": info}
    return image


def test_a_smaller_copy_and_a_mask_are_no_pages(tmp_path):
    path = tmp_path / "pyramid.tif"
    copies = [page(Image.new("RGB", (8, 6)), tags={254: kind}) for kind in (1, 4)]
    SHADES[1].save(path, save_all=True, append_images=copies)
    assert not is_video(path)
    assert read_image(path).shape == (24, 32, 3)


def test_pages_of_16_bits_are_scaled(tmp_path):
    path = tmp_path / "stack.tif"
    first, second = (Image.fromarray(np.full((6, 8), level, np.uint16)) for level in (0x4000, 0x8000))
    first.save(path, save_all=True, append_images=[second])
    assert levels(frames_of(path, False, refuse)) == [0x40, 0x80]


def test_an_animation_that_was_cut_off_is_told_and_its_beginning_kept(tmp_path):
    path = tmp_path / "cut.gif"
    noise = [Image.effect_noise((64, 64), 90) for _ in range(6)]
    noise[0].save(path, save_all=True, append_images=noise[1:])
    path.write_bytes(path.read_bytes()[:-2500])
    notes = []
    count = len(list(read_video(path, note=notes.append)))
    assert 0 < count < 6
    assert [f"ended after {count} of" in note for note in notes] == [True]


def test_broken_notes_about_a_photo_do_not_cost_the_photo(tmp_path):
    path = tmp_path / "a.jpg"
    RED_LEFT.save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(200)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_image(path).shape == (16, 32, 3)


@pytest.mark.parametrize("name", ["a.jpg", "a.heic", "a.mp4", "a"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"<!DOCTYPE html><html>not found</html>", "is a web page"),
        (b"%PDF-1.4 ...", "export its pages as PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "save it as JPEG or PNG"),
    ],
)
def test_what_is_neither_is_told_by_what_it_is(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_image, lambda file: next(frames_of(file, False, refuse)), lambda file: next(read_video(file))):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert said in str(caught.value)
        assert str(path) in str(caught.value)
        assert caught.value.cause == "undecodable"


def test_text_is_no_film(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello world\n" * 50)
    with pytest.raises(ImageError, match="it is text"):
        next(read_video(path))


def test_a_photo_s_error_fits_photos_and_names_the_format(tmp_path):
    path = tmp_path / "photo"
    RED_LEFT.save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r"cannot be decoded as JPEG .*save it as JPEG or PNG"):
        next(frames_of(path, False, refuse))


def test_a_folder_tells_every_kind_it_leaves_out_once(tmp_path):
    save(tmp_path / "a.png", 1)
    SHADES[0].save(tmp_path / "photo", "JPEG")
    SHADES[0].save(tmp_path / "clip.gif", **MOVING)
    for name in ("b.txt", "c.csv", "d.md", "e.json", "f.log", "g.py", "README", ".DS_Store", "._a.png"):
        (tmp_path / name).write_text("text")
    (tmp_path / "sub").mkdir()
    notes = []
    frames = frames_of(tmp_path, True, refuse, notes.append)
    assert levels(next(frames) for _ in range(4)) == [1, 0, 1, 0]
    (note,) = notes
    assert note.startswith(f"{tmp_path}: 10 files (2 hidden, 1 ")
    for kind in (".txt", ".csv", ".md", ".json", ".log", ".py", ".gif", "no ending", "1 folder"):
        assert kind in note


def test_files_of_a_folder_are_chosen_by_their_bytes_or_their_ending(tmp_path):
    for name, content in (
        ("photo", b"\xff\xd8\xff\xe0"),
        ("film.bin", b"\x1aE\xdf\xa3"),
        ("broken.jpg", b"?"),
        ("a.pdf", b"%PDF-"),
    ):
        (tmp_path / name).write_bytes(content)
    assert sorted(path.name for path in tmp_path.iterdir() if worth_reading(path)) == [
        "broken.jpg",
        "film.bin",
        "photo",
    ]
    assert left_out([tmp_path / "a.pdf", tmp_path / "b.PDF", tmp_path]) == "2 files (2 .pdf) and 1 folder"
    assert left_out([]) == ""


@pytest.mark.parametrize(
    ("name", "file_format", "suffix"),
    [
        ("a.jpg", "JPEG", ".jpg"),
        ("a.JPEG", "JPEG", ".JPEG"),
        ("a.jfif", "JPEG", ".jpg"),
        ("a", "PNG", ".png"),
        ("a.jpg", "PNG", ".png"),
        ("a.TIF", "TIFF", ".TIF"),
        ("a.avif", "AVIF", None),
    ],
)
def test_a_copy_has_the_ending_that_fits_its_bytes(tmp_path, name, file_format, suffix):
    SHADES[0].save(tmp_path / name, file_format)
    assert usual_suffix(tmp_path / name) == suffix


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "QOI", "PPM", "JPEG2000"])
def test_damaged_bytes_of_any_format_are_read_or_refused_by_name(tmp_path, file_format):
    path, random = tmp_path / "damaged", np.random.default_rng(7)
    moving = MOVING if file_format in ("GIF", "WEBP", "TIFF", "AVIF") else {}
    SHADES[0].save(path, file_format, **moving)
    whole = path.read_bytes()
    for trial in range(25):
        damaged = bytearray(whole[: random.integers(20, len(whole) + 1)] if trial % 3 == 0 else whole)
        for place in random.integers(12, len(damaged), trial % 5):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with suppress(ImageError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert all(rgb.ndim == 3 for rgb in frames_of(path, False, refuse))
