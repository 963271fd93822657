"""Compressed images of every kind, whole and damaged: pixels that agree with Pillow, or an ImageError."""

from __future__ import annotations

import array
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlm_perception.errors import ImageError
from vlm_perception.frames.compressed import MAX_PIXELS, check_compressed, compressed_to_rgb


def smooth(width: int, height: int, every: int) -> Image.Image:
    """Make a picture as soft as photographs are: JPEG keeps it, and decoders agree on it."""
    coarse = np.random.default_rng(2).integers(0, 256, (height // every, width // every, 3), np.uint8)
    return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


PICTURE = smooth(161, 119, 20)
JPEG_FRAME_START = b"\xff\xc0"


def saved(picture: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def pillow_rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)


JPEG = saved(PICTURE, "JPEG", quality=90)
PNG = saved(PICTURE, "PNG")
WITH_THUMBNAIL = saved(PICTURE, "JPEG", comment=saved(PICTURE.resize((16, 12)), "JPEG"))
EXIF = Image.Exif()
EXIF[0x010E] = "camera 3"

JPEGS = {
    "baseline": JPEG,
    "progressive": saved(PICTURE, "JPEG", progressive=True),
    "grey": saved(PICTURE.convert("L"), "JPEG"),
    "CMYK": saved(PICTURE.convert("CMYK"), "JPEG", quality=95),
    "4:4:4": saved(PICTURE, "JPEG", subsampling=0),
    "4:2:2": saved(PICTURE, "JPEG", subsampling=1),
    "RGB inside": saved(PICTURE, "JPEG", keep_rgb=True),
    "restart markers": saved(PICTURE, "JPEG", restart_marker_rows=1),
    "optimised tables": saved(PICTURE, "JPEG", optimize=True),
    "EXIF": saved(PICTURE, "JPEG", exif=EXIF),
    "thumbnail": WITH_THUMBNAIL,
    "one pixel": saved(PICTURE.resize((1, 1)), "JPEG"),
    "one row": saved(PICTURE.resize((300, 1)), "JPEG"),
    "one column": saved(PICTURE.resize((1, 300)), "JPEG"),
    # Cameras pad to whole blocks.
    "padded with zeros": JPEG + bytes(4000),
    "padded with ones": JPEG + b"\xff" * 100,
    "odd EXIF": JPEG[:2] + b"\xff\xe1\x00\x10Exif\0\0" + b"\x99" * 8 + JPEG[2:],
}


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS)
def test_every_kind_of_jpeg_agrees_with_pillow(data: bytes) -> None:
    result = compressed_to_rgb(array.array("B", data), "rgb8; jpeg compressed bgr8")
    # Both use libjpeg, of different builds.
    np.testing.assert_allclose(result, pillow_rgb(data), atol=3)


def test_motion_jpeg_without_tables_is_read() -> None:
    # UVC cameras leave the standard Huffman tables out of their frames.
    bare, place = JPEG, 0
    while (place := bare.find(b"\xff\xc4")) > 0:
        (length,) = struct.unpack(">H", bare[place + 2 : place + 4])
        bare = bare[:place] + bare[place + 2 + length :]
    assert len(bare) < len(JPEG) - 300
    np.testing.assert_array_equal(compressed_to_rgb(bare, "jpeg"), compressed_to_rgb(JPEG, "jpeg"))


PNGS = {
    "alpha": PICTURE.convert("RGBA"),
    "grey": PICTURE.convert("L"),
    "grey with alpha": PICTURE.convert("LA"),
    "palette": PICTURE.convert("P", palette=Image.Palette.ADAPTIVE),
    "one bit": PICTURE.convert("1"),
}


@pytest.mark.parametrize("picture", PNGS.values(), ids=PNGS)
def test_every_kind_of_png_agrees_with_pillow_exactly(picture: Image.Image) -> None:
    data = saved(picture, "PNG")
    np.testing.assert_array_equal(compressed_to_rgb(data, "png"), pillow_rgb(data))


def test_transparency_is_ignored_and_not_mixed_in() -> None:
    clear = PICTURE.copy()
    clear.putalpha(0)
    np.testing.assert_array_equal(compressed_to_rgb(saved(clear, "PNG"), "png"), np.asarray(PICTURE))


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, bits: int, colour: int, rows: bytes, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def test_interlaced_png_is_put_together() -> None:
    # 2x2 has three passes of Adam7 with pixels: (0,0), then (1,0), then the second row.
    rows = b"\0\x01\x02\x03" + b"\0\x04\x05\x06" + b"\0\x07\x08\x09\x0a\x0b\x0c"
    result = compressed_to_rgb(png_of(2, 2, 8, 2, rows, interlace=1), "png")
    assert result.reshape(-1).tolist() == list(range(1, 13))


def test_sixteen_bit_colour_png_is_scaled() -> None:
    rows = b"\0" + struct.pack(">6H", 0, 65535, 0x8000, 0x1234, 0xFF00, 0x00FF)
    result = compressed_to_rgb(png_of(2, 1, 16, 2, rows), "rgb16; png compressed")
    # OpenCV keeps the high byte; rounding would differ by one at most.
    np.testing.assert_allclose(result.reshape(-1), [0, 255, 128, 18, 255, 0], atol=1)


DEPTH = png_of(2, 1, 16, 0, b"\0" + struct.pack(">HH", 500, 2500))


@pytest.mark.parametrize(
    ("data", "declared"),
    [
        (DEPTH, "16UC1; png compressed "),
        (DEPTH, "png"),  # nothing is said, but nothing else is a 16-bit grey PNG
        (DEPTH, ""),
        (DEPTH, "16UC1; compressedDepth png"),
        (bytes(12) + DEPTH, "32FC1; compressedDepth png"),  # with the configuration in front
        (bytes(12) + b"RVL", "16UC1; compressedDepth rvl"),
        (saved(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "32FC1; tiff compressed "),
    ],
)
def test_compressed_depth_is_refused_before_it_is_decoded(data: bytes, declared: str) -> None:
    with pytest.raises(ImageError, match=r"compressed depth is not read.*image_transport: raw") as caught:
        check_compressed(data, declared)
    assert caught.value.cause == "unknown_encoding"


def test_sixteen_bit_grey_that_is_said_to_be_a_picture_is_one() -> None:
    result = compressed_to_rgb(png_of(2, 1, 16, 0, b"\0" + struct.pack(">HH", 0, 65535)), "mono16; png compressed ")
    assert result[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("data", [*JPEGS.values(), PNG], ids=[*JPEGS, "PNG"])
def test_no_missing_end_is_taken_for_a_picture(data: bytes) -> None:
    end = len(data) - 12 if data == PNG else data.rfind(b"\xff\xd9")
    for cut in range(24, end, 97):
        with pytest.raises(ImageError):
            compressed_to_rgb(data[:cut], "jpeg")


@pytest.mark.parametrize("name", ["baseline", "grey", "4:4:4", "restart markers", "thumbnail"])
def test_an_end_marker_alone_does_not_make_a_picture_whole(name: str) -> None:
    """The last bytes may hold no more than the padding of the last block; a thumbnail has an end of its own."""
    data = JPEGS[name]
    for cut in range(24, len(data) - 40, 97):
        with pytest.raises(ImageError):
            compressed_to_rgb(data[:cut] + b"\xff\xd9", "jpeg")


@pytest.mark.parametrize("rows", [0, 1])
def test_nearly_every_lost_packet_is_found(rows: int) -> None:
    """Bytes missing in the middle, as USB and UDP lose them; without a checksum a few cannot be told."""
    whole, random = saved(smooth(320, 240, 8), "JPEG", quality=90, restart_marker_rows=rows), np.random.default_rng(3)
    refused = 0
    for start, lost in random.integers((1000, 200), (len(whole) - 3000, 1400), (60, 2)):
        try:
            compressed_to_rgb(whole[:start] + whole[start + lost :], "jpeg")
        except ImageError as error:
            refused += "pieces were lost" in str(error)
    assert refused >= 50


@given(place=st.integers(8, len(PNG) - 1), bit=st.integers(0, 7))
def test_no_changed_bit_of_a_png_changes_a_pixel(place: int, bit: int) -> None:
    changed = bytearray(PNG)
    changed[place] ^= 1 << bit
    try:
        result = compressed_to_rgb(bytes(changed), "png")
    except ImageError:
        return
    np.testing.assert_array_equal(result, np.asarray(PICTURE))


@given(place=st.integers(0, len(JPEG) - 1), value=st.integers(0, 255))
def test_any_changed_byte_of_a_jpeg_gives_pixels_or_an_image_error(place: int, value: int) -> None:
    changed = bytearray(JPEG)
    changed[place] = value
    try:
        result = compressed_to_rgb(bytes(changed), "jpeg")
    except ImageError:
        return
    assert (result.ndim, result.shape[2], result.dtype) == (3, 3, np.uint8)


@pytest.mark.parametrize("side", [10_000, 12_288, 60_000])
def test_a_few_bytes_cannot_claim_all_memory(side: int) -> None:
    place = JPEG.find(JPEG_FRAME_START)
    bomb = JPEG[: place + 5] + struct.pack(">HH", side, side) + JPEG[place + 9 :]
    for data in (bomb, png_of(side, side, 8, 2, b"")):
        with pytest.raises(ImageError, match="too large") as caught:
            compressed_to_rgb(data, "jpeg")
        assert caught.value.cause == "too_large"
    assert MAX_PIXELS > 8000 * 6000
