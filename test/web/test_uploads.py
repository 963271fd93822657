"""What is uploaded is an image the model can take, or the page says what is wrong with it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_perception.apps.web.uploads import MAX_IMAGE_PIXELS, MIN_SIDE_PX, read_upload
from vlm_perception.errors import ImageError


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings no pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    whole = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def picture(path: Path, width: int, height: int) -> Path:
    Image.new("RGB", (width, height), (200, 30, 30)).save(path)
    return path


def refused(path: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_upload(path, "mine.png")
    assert "mine.png" in str(caught.value)
    assert str(path.parent) not in str(caught.value), "the server's folders are nobody's business"
    return caught.value


def test_a_good_image_comes_back_as_it_is(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_upload(tmp_path / "a.png", "a.png"), rgb)


def test_a_text_file_called_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no picture")
    error = refused(path)
    assert error.cause == "undecodable"
    assert "choose a JPEG, PNG" in str(error)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    assert "0 bytes" in str(refused(path))


def test_a_file_that_was_tidied_away_has_to_be_uploaded_again(tmp_path: Path) -> None:
    assert "upload the image again" in str(refused(tmp_path / "gone.png"))


def test_a_picture_whose_end_is_missing_is_refused(tmp_path: Path) -> None:
    whole = picture(tmp_path / "a.png", 300, 300).read_bytes()
    path = tmp_path / "half.png"
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(path).cause == "undecodable"


@pytest.mark.parametrize(
    ("width", "height", "says"),
    [
        (1, 1, f"at least {MIN_SIDE_PX} px"),
        (64, MIN_SIDE_PX - 1, f"at least {MIN_SIDE_PX} px"),
        (2010, 10, "more than 200 times"),
        (10, 2010, "more than 200 times"),
    ],
)
def test_sizes_that_cannot_be_answered_are_refused_with_the_limit(
    tmp_path: Path, width: int, height: int, says: str
) -> None:
    error = refused(picture(tmp_path / "a.png", width, height))
    assert f"{width} x {height} px" in str(error)
    assert says in str(error)


@pytest.mark.parametrize(("width", "height"), [(10_000, 8_000), (30_000, 30_000)])
def test_a_giant_is_refused_by_its_header_alone(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, height))
    error = refused(path)
    assert error.cause == "size"
    assert f"{MAX_IMAGE_PIXELS // 1_000_000} million" in str(error)
    assert "shrink it" in str(error)


@pytest.mark.parametrize(("width", "height"), [(MIN_SIDE_PX, MIN_SIDE_PX), (1600, 8), (28, 28)])
def test_small_and_long_images_within_the_limits_are_read(tmp_path: Path, width: int, height: int) -> None:
    assert read_upload(picture(tmp_path / "a.png", width, height), "a.png").shape == (height, width, 3)
