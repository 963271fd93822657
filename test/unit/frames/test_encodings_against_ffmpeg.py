"""Every raw encoding against FFmpeg's conversion of the same bytes, or plain arithmetic where FFmpeg has none.

Each with and without padding, in both byte orders, in even and odd sizes.

FFmpeg's software scaler shares no code with OpenCV, which does the work in `frames/encodings.py`.
"""

from __future__ import annotations

import array
import math
import struct

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import SUPPORTED_ENCODINGS, RawLayout, raw_to_rgb

RNG = np.random.default_rng(1)
# Even and odd, one row, one column, one pixel; wider than FFmpeg's vector loops.
SIZES_WH = [(70, 34), (71, 35), (70, 1), (1, 34), (1, 1)]

# encoding, FFmpeg's name of it (little-endian), bytes a pixel of the first plane, largest difference
SAME_BYTES = [
    ("rgb8", "rgb24", 3, 0),
    ("bgr8", "bgr24", 3, 0),
    ("8UC3", "bgr24", 3, 0),
    ("rgba8", "rgba", 4, 0),
    ("bgra8", "bgra", 4, 0),
    ("8UC4", "bgra", 4, 0),
    ("mono8", "gray", 1, 0),
    ("8UC1", "gray", 1, 0),
    # FFmpeg cuts off the low byte and dithers; that we round exactly is in test_encodings.py.
    ("rgb16", "rgb48le", 6, 2),
    ("bgr16", "bgr48le", 6, 2),
    ("16UC3", "bgr48le", 6, 2),
    ("rgba16", "rgba64le", 8, 2),
    ("bgra16", "bgra64le", 8, 2),
    ("16UC4", "bgra64le", 8, 2),
    ("mono16", "gray16le", 2, 1),
    # Two implementations of BT.601 in fixed-point numbers of different widths.
    ("uyvy", "uyvy422", 2, 3),
    ("yuv422", "uyvy422", 2, 3),
    ("yuyv", "yuyv422", 2, 3),
    ("yuv422_yuy2", "yuyv422", 2, 3),
    ("nv12", "nv12", 1, 3),
    ("nv21", "nv21", 1, 3),
]
# encoding, struct's letter of a sample
DEPTHS = [("16UC1", "H"), ("32FC1", "f")]
# None, and one that leaves the next row of wide samples unaligned.
PADDINGS = [0, 7]
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")


def ffmpeg_rgb(planes: list[NDArray[np.uint8]], name: str, wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Convert (rows, bytes a row) planes with FFmpeg.

    It would stretch the chroma of an odd size over all pixels; whole pairs have nothing to stretch.
    """
    frame = av.VideoFrame(wh[0] + wh[0] % 2, wh[1] + wh[1] % 2, name)
    for plane, rows in zip(frame.planes, planes, strict=True):
        padded = np.zeros((plane.buffer_size // plane.line_size, plane.line_size), np.uint8)
        padded[: rows.shape[0], : rows.shape[1]] = rows
        plane.update(padded.tobytes())
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU601,
        # Before PyAV 17, grey was stretched from studio range, too.
        src_color_range=ColorRange.JPEG if name.startswith("gray") else ColorRange.MPEG,
        interpolation=Interpolation.POINT,
    )
    return converted.to_ndarray()[: wh[1], : wh[0]]


def random_planes(encoding: str, pixel_bytes: int, wh: tuple[int, int]) -> list[NDArray[np.uint8]]:
    width, height = wh
    shared = 2 if encoding.startswith(("uyvy", "yu", "nv")) else 1
    shapes = [(height, -(-width // shared) * shared * pixel_bytes)]
    if encoding.startswith("nv"):
        shapes.append((-(-height // 2), shapes[0][1]))
    # Video levels for YUV: what lies outside is clipped at different stages.
    low, high = (16, 236) if shared == 2 else (0, 256)
    return [RNG.integers(low, high, shape, np.uint8) for shape in shapes]


def message_bytes(planes: list[NDArray[np.uint8]], padding: int) -> tuple[bytes, int]:
    """Lay planes out as one message, with rubbish as padding; returns its bytes and step."""
    rows = np.vstack(planes)
    filler = RNG.integers(0, 256, (rows.shape[0], padding), np.uint8)
    return np.hstack([rows, filler]).tobytes(), rows.shape[1] + padding


def swapped(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view("<u2").byteswap().view(np.uint8)


def is_wide(encoding: str) -> bool:
    """Whether `is_bigendian` means anything: samples of more than one byte."""
    return "16" in encoding or "32" in encoding


@pytest.mark.parametrize("wh", SIZES_WH)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("encoding", "name", "pixel_bytes", "bound"), SAME_BYTES)
def test_every_encoding_agrees_with_ffmpeg(encoding, name, pixel_bytes, bound, padding, big, wh):
    planes = random_planes(encoding, pixel_bytes, wh)
    expected = ffmpeg_rgb(planes, name, wh).astype(int)
    # Some drivers set the flag for every image: for single bytes it means nothing.
    sent = [swapped(rows) for rows in planes] if big and is_wide(encoding) else planes
    data, step = message_bytes(sent, padding)
    result = raw_to_rgb(data, RawLayout(encoding, *wh, step, big))
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() <= bound


def stretched(samples: list[float]) -> list[int]:
    """Depth as grey, one sample at a time: the nearest is 1, the farthest 255, what is no distance 0."""
    valid = [sample for sample in samples if math.isfinite(sample) and sample > 0]
    near, far = min(valid, default=0.0), max(valid, default=0.0)
    scale = 254 / (far - near) if far > near else 0.0
    return [round(1 + (sample - near) * scale) if sample in valid else 0 for sample in samples]


@pytest.mark.parametrize("wh", SIZES_WH)
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("encoding", "code"), DEPTHS)
def test_depth_agrees_with_plain_arithmetic(encoding, code, padding, big, wh):
    count = wh[0] * wh[1]
    samples = RNG.integers(0, 5000, count).tolist() if code == "H" else (RNG.random(count) * 9 - 1).tolist()
    if code == "f":
        for place in range(0, count - 1, 5):
            samples[place] = (math.nan, math.inf, -math.inf, 0.0)[place // 5 % 4]
    order = ">" if big else "<"
    packed = struct.pack(f"{order}{count}{code}", *samples)
    rows = np.frombuffer(packed, np.uint8).reshape(wh[1], -1)
    data, step = message_bytes([rows], padding)
    result = raw_to_rgb(data, RawLayout(encoding, *wh, step, big)).astype(int)
    # As they were stored: a float of 64 bits loses some.
    expected = stretched(list(struct.unpack(f"{order}{count}{code}", packed)))
    assert (result == result[..., :1]).all(), "grey"
    # Halves may be rounded to either side.
    assert np.abs(result[..., 0].reshape(-1) - expected).max() <= 1
    assert (result[..., 0].reshape(-1) == expected).mean() >= 0.99


def neighbours(plane: NDArray[np.float64], steps: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    rows, columns = plane.shape
    padded = np.pad(plane, 1)
    return sum(padded[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns] for dy, dx in steps)


def bilinear(mosaic: NDArray[np.float64], pattern: str) -> NDArray[np.float64]:
    """Demosaic by the mean of the nearest samples of each colour; right everywhere but at the rim."""
    beside, across = ((0, 1), (1, 0), (0, -1), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1))
    channels = []
    for colour in "rgb":
        here = np.zeros(mosaic.shape)
        for place, letter in enumerate(pattern):
            here[place // 2 :: 2, place % 2 :: 2] = letter == colour
        known = mosaic * here
        near, far = neighbours(here, beside), neighbours(here, across)
        nearest, farther = neighbours(known, beside), neighbours(known, across)
        guess = np.where(near > 0, nearest / np.maximum(near, 1), farther / np.maximum(far, 1))
        channels.append(np.where(here > 0, mosaic, guess))
    return np.stack(channels, -1)


@pytest.mark.parametrize("wh", [(70, 34), (71, 35), (3, 3)])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_bayer_agrees_with_plain_arithmetic(pattern, bits, padding, big, wh):
    samples = RNG.integers(0, 2**bits, (wh[1], wh[0]), np.uint16 if bits == 16 else np.uint8)
    rows = samples.astype(samples.dtype.newbyteorder(">" if big else "<")).view(np.uint8)
    data, step = message_bytes([rows], padding)
    result = raw_to_rgb(data, RawLayout(f"bayer_{pattern}{bits}", *wh, step, big))
    expected = bilinear(samples * (255 / (2**bits - 1)), pattern)
    # Rounded once, and at 16 bits once more before.
    assert np.abs(result - expected)[1:-1, 1:-1].max() <= 1
    inside = result[1:-1, 1:-1]
    np.testing.assert_array_equal(result, np.pad(inside, ((1, 1), (1, 1), (0, 0)), mode="edge"), "the rim repeats it")


@pytest.mark.parametrize("wh", [(1, 1), (2, 9), (9, 2)])
def test_a_mosaic_without_an_inside_is_refused(wh):
    # OpenCV would call it black.
    with pytest.raises(ImageError, match=r"at least 3x3") as caught:
        raw_to_rgb(bytes(range(wh[0] * wh[1])), RawLayout("bayer_rggb8", *wh, wh[0]))
    assert caught.value.cause == "undecodable"


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_every_encoding_is_held_to_an_independent_conversion(encoding):
    mosaics = {f"bayer_{pattern}{bits}" for pattern in PATTERNS for bits in (8, 16)}
    assert encoding in {row[0] for row in SAME_BYTES} | {row[0] for row in DEPTHS} | mosaics


@pytest.mark.parametrize("kind", ["memoryview", "bytearray", "array", "read-only"])
def test_any_buffer_will_do(kind):
    surrounded = bytes(range(100))
    wanted = np.frombuffer(surrounded, np.uint8)[10:70].reshape(4, 15)[:, :12].reshape(4, 4, 3)
    views = {
        "memoryview": memoryview(surrounded)[10:70],
        "bytearray": bytearray(surrounded[10:70]),
        "array": array.array("B", surrounded[10:70]),
        "read-only": surrounded[10:70],
    }
    np.testing.assert_array_equal(raw_to_rgb(views[kind], RawLayout("rgb8", 4, 4, 15)), wanted)
