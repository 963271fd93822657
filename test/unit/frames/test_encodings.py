"""Every encoding, pixel by pixel, against arithmetic or Pillow rather than the code under test."""

from __future__ import annotations

import array
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from vlm_perception.errors import ImageError
from vlm_perception.frames.compressed import compressed_to_rgb, rgb_to_jpeg
from vlm_perception.frames.encodings import SUPPORTED_ENCODINGS, RawLayout, raw_to_rgb

RNG = np.random.default_rng(0)
# Odd sizes, a single pixel, one row, one column.
SIZES_WH = [(1, 1), (1, 6), (7, 1), (7, 5), (8, 6)]


def message_bytes(samples: NDArray[np.generic], padding: int, *, big: bool) -> tuple[bytes, int]:
    """Lay (rows, columns[, channels]) samples out as a message does, with rubbish as padding."""
    ordered = samples.astype(samples.dtype.newbyteorder(">" if big else "<"))
    rows = ordered.reshape(ordered.shape[0], -1).view(np.uint8)
    filler = RNG.integers(0, 256, (rows.shape[0], padding), np.uint8)
    return np.hstack([rows, filler]).tobytes(), rows.shape[1] + padding


def convert(samples: NDArray[np.generic], encoding: str, wh: tuple[int, int], padding: int = 0, big: bool = False):
    data, step = message_bytes(samples, padding, big=big)
    return raw_to_rgb(data, RawLayout(encoding, wh[0], wh[1], step, big))


@pytest.mark.parametrize("wh", SIZES_WH)
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "channels", "order"),
    [
        ("rgb8", 3, (0, 1, 2)),
        ("bgr8", 3, (2, 1, 0)),
        ("8UC3", 3, (2, 1, 0)),  # OpenCV's own order
        ("rgba8", 4, (0, 1, 2)),
        ("bgra8", 4, (2, 1, 0)),
        ("8UC4", 4, (2, 1, 0)),
        ("mono8", 1, (0, 0, 0)),
        ("8UC1", 1, (0, 0, 0)),
    ],
)
def test_eight_bit_colours_keep_their_values(wh, padding, encoding, channels, order):
    samples = RNG.integers(0, 256, (wh[1], wh[0], channels), np.uint8)
    np.testing.assert_array_equal(convert(samples, encoding, wh, padding), samples[..., list(order)])


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize(
    ("encoding", "channels", "order"),
    [
        ("rgb16", 3, (0, 1, 2)),
        ("bgr16", 3, (2, 1, 0)),
        ("rgba16", 4, (0, 1, 2)),
        ("bgra16", 4, (2, 1, 0)),
        ("mono16", 1, (0, 0, 0)),
    ],
)
def test_sixteen_bit_colours_are_scaled_in_either_byte_order(big, padding, encoding, channels, order):
    samples = RNG.integers(0, 65536, (5, 7, channels), np.uint16)
    samples[0, 0], samples[0, 1] = 0, 65535
    expected = np.rint(samples[..., list(order)] * (255 / 65535)).astype(np.uint8)
    np.testing.assert_array_equal(convert(samples, encoding, (7, 5), padding, big), expected)


@pytest.mark.parametrize("big", [False, True])
def test_depth_in_millimetres_is_stretched_over_its_own_range(big):
    samples = np.array([[0, 500, 1500, 2500]], np.uint16)
    # 0 is "no reading"; near to far is 1..255.
    assert convert(samples, "16UC1", (4, 1), 4, big)[0, :, 1].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("big", [False, True])
def test_depth_in_metres_ignores_what_is_not_a_distance(big):
    samples = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, 0.5, 1.5, 2.5]], np.float32)
    assert convert(samples, "32FC1", (8, 1), 4, big)[0, :, 0].tolist() == [0, 0, 0, 0, 0, 1, 128, 255]


@pytest.mark.parametrize("value", [0.0, 2.0, float("nan")])
def test_flat_depth_divides_by_nothing(value):
    result = convert(np.full((2, 2), value, np.float32), "32FC1", (2, 2))
    assert result.max() == (1 if value > 0 else 0)


def bt601(y: NDArray[np.generic], u: NDArray[np.generic], v: NDArray[np.generic]) -> NDArray[np.float64]:
    """RGB of studio-range BT.601, as cameras send it."""
    luma, cb, cr = 1.164 * (y.astype(float) - 16), u.astype(float) - 128, v.astype(float) - 128
    rgb = np.stack([luma + 1.596 * cr, luma - 0.813 * cr - 0.391 * cb, luma + 2.018 * cb], axis=-1)
    return np.clip(rgb, 0, 255)


@pytest.mark.parametrize("wh", SIZES_WH)
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "places"), [("yuv422", "UYVY"), ("uyvy", "UYVY"), ("yuyv", "YUYV"), ("yuv422_yuy2", "YUYV")]
)
def test_packed_yuv(wh, padding, encoding, places):
    pairs = -(-wh[0] // 2)
    samples = RNG.integers(16, 236, (wh[1], pairs, 4), np.uint8)
    first_y = places.index("Y")
    luma = samples[..., [first_y, first_y + 2]].reshape(wh[1], pairs * 2)
    u, v = (np.repeat(samples[..., places.index(name)], 2, axis=1) for name in "UV")
    result = convert(samples, encoding, wh, padding)
    assert result.shape == (wh[1], wh[0], 3)
    np.testing.assert_allclose(result, bt601(luma, u, v)[:, : wh[0]], atol=2)


@pytest.mark.parametrize("wh", SIZES_WH)
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "u_place"), [("nv12", 0), ("nv21", 1)])
def test_two_plane_yuv(wh, padding, encoding, u_place):
    even_w, half_h = wh[0] + wh[0] % 2, -(-wh[1] // 2)
    samples = RNG.integers(16, 236, (wh[1] + half_h, even_w), np.uint8)
    chroma = samples[wh[1] :].reshape(half_h, even_w // 2, 2)
    u, v = (np.repeat(np.repeat(chroma[..., place], 2, 0), 2, 1) for place in (u_place, 1 - u_place))
    result = convert(samples, encoding, wh, padding)
    assert result.shape == (wh[1], wh[0], 3)
    expected = bt601(samples[: wh[1]], u[: wh[1]], v[: wh[1]])[:, : wh[0]]
    np.testing.assert_allclose(result, expected, atol=2)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_mosaic_of_one_colour_is_that_colour(bits, pattern):
    levels = {"r": 200, "g": 100, "b": 30}
    tile = np.array([levels[letter] for letter in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (4, 5))
    samples = mosaic.astype(np.uint8) if bits == 8 else (mosaic * 257).astype(np.uint16)
    result = convert(samples, f"bayer_{pattern}{bits}", (10, 8), 2, big=bits == 16)
    np.testing.assert_array_equal(result[1:-1, 1:-1], np.broadcast_to([200, 100, 30], (6, 8, 3)))


def test_rgb8_without_padding_is_not_copied():
    data = array.array("B", bytes(range(24)))
    assert np.shares_memory(raw_to_rgb(data, RawLayout("rgb8", 4, 2, 12)), np.frombuffer(data, np.uint8))


def test_missing_padding_of_the_last_row_is_no_loss():
    data = bytes(range(2 * 8 - 2))
    assert raw_to_rgb(data, RawLayout("rgb8", 2, 2, 8))[1, 1].tolist() == [11, 12, 13]


@pytest.mark.parametrize(
    ("layout", "n_bytes", "cause", "said"),
    [
        (RawLayout("rgb8", 0, 4, 12), 48, "zero_size", "0x4"),
        (RawLayout("rgb8", 4, 0, 12), 48, "zero_size", "4x0"),
        (RawLayout("rbg8", 4, 4, 12), 48, "unknown_encoding", "'rbg8'"),
        (RawLayout("", 4, 4, 12), 48, "unknown_encoding", "rgb8"),
        (RawLayout("rgb8", 4, 4, 11), 48, "wrong_step", "at least 12"),
        (RawLayout("rgb8", 4, 4, 0), 48, "wrong_step", "step 0"),
        (RawLayout("mono16", 4, 4, 4), 48, "wrong_step", "at least 8"),
        (RawLayout("yuv422", 5, 4, 10), 40, "wrong_step", "at least 12"),  # half a pixel pair
        (RawLayout("rgb8", 4, 4, 12), 47, "truncated", "47 bytes came, 48"),
        (RawLayout("rgb8", 4, 4, 12), 0, "truncated", "0 bytes came"),
        (RawLayout("nv12", 4, 4, 4), 16, "truncated", "24"),  # the chroma plane is missing
        (RawLayout("rgb8", 4, 4, 12), 49, "wrong_step", "only 48"),
        (RawLayout("rgb8", 2**32 - 1, 2**32 - 1, 2**32 - 1), 48, "wrong_step", "4294967295"),
    ],
)
def test_a_bad_message_is_refused_with_its_reason(layout, n_bytes, cause, said):
    with pytest.raises(ImageError, match=said) as caught:
        raw_to_rgb(bytes(n_bytes), layout)
    assert caught.value.cause == cause


@given(
    encoding=st.sampled_from(SUPPORTED_ENCODINGS) | st.text(max_size=8),
    width=st.integers(0, 9),
    height=st.integers(0, 9),
    step=st.integers(0, 80),
    data=st.binary(max_size=700),
    big=st.booleans(),
)
def test_any_message_gives_pixels_or_an_image_error(encoding, width, height, step, data, big):
    try:
        result = raw_to_rgb(data, RawLayout(encoding, width, height, step, big))
    except ImageError:
        return
    assert (result.shape, result.dtype) == ((height, width, 3), np.uint8)
    assert result.flags.c_contiguous


def picture_bytes(pixels: NDArray[np.uint8], file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)
    return stream.getvalue()


def test_png_comes_back_exactly():
    rgb = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(compressed_to_rgb(picture_bytes(rgb, "PNG"), "rgb8; png compressed bgr8"), rgb)


def test_grey_png_becomes_rgb():
    grey = RNG.integers(0, 256, (5, 7), np.uint8)
    np.testing.assert_array_equal(compressed_to_rgb(picture_bytes(grey, "PNG"), "png"), np.stack([grey] * 3, -1))


def test_jpeg_agrees_with_pillow():
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    rgb = np.stack([np.tile(ramp, (48, 1)), np.full((48, 64), 90, np.uint8), np.tile(ramp[::-1], (48, 1))], -1)
    data = picture_bytes(rgb, "JPEG", quality=90)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)
    np.testing.assert_allclose(compressed_to_rgb(data, "jpeg"), theirs, atol=3)


def test_own_jpeg_reads_back_in_rgb_order():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    back = np.asarray(Image.open(io.BytesIO(rgb_to_jpeg(red, 95))), int)
    np.testing.assert_allclose(back, red, atol=6)


def test_exif_orientation_does_not_turn_the_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = picture_bytes(np.zeros((16, 32, 3), np.uint8), "JPEG", exif=exif)
    assert compressed_to_rgb(data, "jpeg").shape == (16, 32, 3)


NOISE = RNG.integers(0, 256, (32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("data", "declared", "cause"),
    [
        (b"", "jpeg", "zero_size"),
        (b"not a picture", "jpeg", "undecodable"),
        (picture_bytes(NOISE, "JPEG")[:-200], "jpeg", "truncated"),  # OpenCV alone would paint it grey
        (picture_bytes(NOISE, "PNG")[:-200], "png", "truncated"),
        (b"\xff\xd8\xff" + bytes(50) + b"\xff\xd9", "jpeg", "undecodable"),
        (picture_bytes(NOISE, "PNG"), "16UC1; compressedDepth png", "unknown_encoding"),
    ],
)
def test_a_bad_picture_is_refused_with_its_reason(data, declared, cause):
    with pytest.raises(ImageError, match=str(len(data)) if data else "empty") as caught:
        compressed_to_rgb(data, declared)
    assert caught.value.cause == cause


@given(data=st.binary(max_size=200), head=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF"]))
def test_any_bytes_give_pixels_or_an_image_error(data, head):
    try:
        result = compressed_to_rgb(head + data, "jpeg")
    except ImageError:
        return
    assert (result.ndim, result.dtype) == (3, np.uint8)


def test_a_picture_too_large_for_jpeg_says_so():
    with pytest.raises(ImageError, match="70000x1"):
        rgb_to_jpeg(np.zeros((1, 70000, 3), np.uint8), 90)
