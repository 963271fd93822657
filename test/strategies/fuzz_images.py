"""Image messages from good to absurd, as plain values; a ROS test makes messages of them."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from vlm_perception.frames.encodings import SUPPORTED_ENCODINGS

# What the fields of the messages can hold.
UINT8, UINT32 = 2**8 - 1, 2**32 - 1
_KNOWN_TO_ROS = ("nv24", "8UC2", "8SC1", "16SC1", "32SC1", "32FC3", "64FC1")


@dataclass(frozen=True)
class FuzzHeader:
    """`std_msgs/Header`."""

    sec: int
    nanosec: int
    frame_id: str


@dataclass(frozen=True)
class FuzzImage:
    """`sensor_msgs/Image`."""

    header: FuzzHeader
    encoding: str
    width: int
    height: int
    step: int
    is_bigendian: int
    data: bytes


@dataclass(frozen=True)
class FuzzCompressed:
    """`sensor_msgs/CompressedImage`."""

    header: FuzzHeader
    format: str
    data: bytes


def text_fields(max_size: int = 24) -> st.SearchStrategy[str]:
    """Text that a ROS string can carry: any Unicode without half characters, NUL included."""
    return st.text(max_size=max_size)


HEADERS = st.builds(
    FuzzHeader,
    sec=st.sampled_from([0, -1, 1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1),
    # Values of a second and more are not allowed by ROS, and arrive all the same.
    nanosec=st.sampled_from([0, 999_999_999, 10**9, UINT32]) | st.integers(0, UINT32),
    frame_id=text_fields(),
)
ENCODINGS = (
    st.sampled_from(SUPPORTED_ENCODINGS)
    | st.sampled_from(SUPPORTED_ENCODINGS + _KNOWN_TO_ROS).map(str.upper)
    | st.sampled_from(_KNOWN_TO_ROS)
    | text_fields()
)
_NUMBERS = st.integers(0, 9) | st.sampled_from([255, 65535, 2**31, UINT32]) | st.integers(0, UINT32)


@st.composite
def sound_images(draw: st.DrawFn) -> FuzzImage:
    """An image that keeps every rule: a supported encoding, room for it, random bytes."""
    encoding = draw(st.sampled_from(SUPPORTED_ENCODINGS))
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    # 8 bytes hold a pixel of any encoding, an odd width is stored with its pair.
    step = (width + width % 2) * 8 + draw(st.integers(0, 5))
    rows = height + -(-height // 2) if encoding in ("nv12", "nv21") else height
    filler = draw(st.binary(min_size=1, max_size=64))
    data = (filler * (step * rows // len(filler) + 1))[: step * rows]
    return FuzzImage(draw(HEADERS), encoding, width, height, step, draw(st.integers(0, UINT8)), data)


@st.composite
def nearly_sound_images(draw: st.DrawFn) -> FuzzImage:
    """A sound image with one claim changed."""
    image = draw(sound_images())
    changes: dict[str, st.SearchStrategy[object]] = {
        "encoding": ENCODINGS,
        "width": _NUMBERS,
        "height": _NUMBERS,
        "step": _NUMBERS,
        "data": st.integers(0, len(image.data)).map(lambda length: image.data[:length]) | st.binary(max_size=2000),
    }
    name = draw(st.sampled_from(sorted(changes)))
    return replace(image, **{name: draw(changes[name])})


ABSURD_IMAGES = st.builds(
    FuzzImage, HEADERS, ENCODINGS, _NUMBERS, _NUMBERS, _NUMBERS, st.integers(0, UINT8), st.binary(max_size=300)
)
IMAGES = sound_images() | nearly_sound_images() | ABSURD_IMAGES


@functools.cache
def sound_files() -> tuple[bytes, ...]:
    """Small pictures in every format that is read."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8))
    files = []
    for name in ("JPEG", "PNG", "WEBP", "BMP", "TIFF"):
        for picture in (rgb, rgb.convert("L")):
            stream = io.BytesIO()
            picture.save(stream, name)
            files.append(stream.getvalue())
    stream = io.BytesIO()
    rgb.save(stream, "JPEG", progressive=True)
    return (*files, stream.getvalue())


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A picture with bytes changed, lost, repeated or put in."""
    data = draw(st.sampled_from(sound_files()))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        data = data[:start] + draw(st.binary(max_size=8)) + data[draw(st.sampled_from([start, end])) :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


FORMATS = (
    st.sampled_from(
        ["jpeg", "png", "rgb8; jpeg compressed bgr8", "16UC1; compressedDepth png", "mono16; png compressed"]
    )
    | text_fields()
)
COMPRESSED = st.builds(FuzzCompressed, HEADERS, FORMATS, damaged_files() | st.binary(max_size=200))
