"""What is uploaded is an image the model can take, or the page says what is wrong with it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vlm_perception.apps.web.uploads import MAX_IMAGE_PIXELS, MIN_SIDE_PX, length_s, read_moment, read_upload
from vlm_perception.errors import ImageError


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings no pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    whole = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


NOISE = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8))[1].tobytes()


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
    (tmp_path / "a.png").write_bytes(NOISE)
    np.testing.assert_array_equal(read_upload(tmp_path / "a.png", "a.png"), Image.open(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("content", "cause", "says"),
    [
        (b"no picture", "undecodable", "choose a JPEG, PNG"),
        (b"", "empty", "0 bytes"),
        (None, "missing_file", "upload the image again"),
        (NOISE[: len(NOISE) // 2], "undecodable", "cannot be decoded"),
    ],
)
def test_what_is_no_whole_image_is_refused(tmp_path: Path, content: bytes | None, cause: str, says: str) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    error = refused(path)
    assert (error.cause, says in str(error)) == (cause, True)


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


def test_what_is_no_video_is_refused_without_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "mine.mp4"
    path.write_text("no video")
    for reading in (length_s, lambda path: read_moment(path, 0.0)):
        with pytest.raises(ImageError, match=r"^mine\.mp4 is neither") as caught:
            reading(path)
        assert str(tmp_path) not in str(caught.value)
