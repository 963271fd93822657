"""Bytes of camera images -> RGB pixels, without ROS, so that every encoding is tested pixel by pixel.

Raw images follow `sensor_msgs/Image`: `height` rows of `step` bytes, of which the last ones may be
padding, multi-byte samples in the order `is_bigendian` says. The meaning of the encodings agrees
with cv_bridge; what cv_bridge leaves open is decided here:

* `8UC3`, `8UC4`, `16UC3` and `16UC4` are taken as BGR and BGRA, OpenCV's own order;
* 16-bit colour and `mono16` are scaled by 255/65535, rounded to nearest;
* `16UC1` and `32FC1` are depth: the valid samples (finite and above zero) of each image are
  stretched linearly from their smallest to their largest value over 1..255, invalid ones are 0;
* an alpha channel is ignored;
* YUV is BT.601 in studio range (16..235), as OpenCV and cv_bridge read it; an odd width is stored with
  the missing half of its last pair, an odd height of `nv12` and `nv21` with a chroma row of its own.

`nv24` is not read here: sensor_msgs counts two bytes a pixel, the kernel's format of that name has three.

Compressed images are in `frames/compressed.py`.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.errors import ImageError

# `array.array` is what rclpy hands out.
Buffer: TypeAlias = "bytes | bytearray | memoryview | array.array[int]"
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RawLayout:
    """What a raw image message says about its own bytes.

    Attributes:
        encoding: Name as in `sensor_msgs/image_encodings.hpp`.
        width: Columns, pixels.
        height: Rows, pixels.
        step: Bytes from one row to the next.
        is_bigendian: Byte order of samples wider than one byte.
    """

    encoding: str
    width: int
    height: int
    step: int
    is_bigendian: bool = False

    def __str__(self) -> str:
        return f"encoding {self.encoding!r}, {self.width}x{self.height}, step {self.step}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one encoding lies in memory and becomes RGB.

    `group` is the number of pixels that share `group_bytes` bytes. `planes` is the number of
    half-rows stored per image row: 2 for one plane, 3 when a half-height chroma plane follows.
    `to_rgb` gets samples (rows, columns[, channels]) in native byte order.
    """

    dtype: str
    channels: int
    to_rgb: Callable[[NDArray[np.generic], RawLayout], Pixels]
    group: int = 1
    planes: int = 2

    def row_bytes(self, width: int) -> int:
        groups = -(-width // self.group)
        return groups * self.group * self.channels * np.dtype(self.dtype).itemsize

    def rows(self, height: int) -> int:
        return height if self.planes == 2 else height + -(-height // 2)


def check_raw(layout: RawLayout, n_bytes: int) -> None:
    """Check a raw image's claims in constant time, without touching its pixels.

    Args:
        layout: The message's own description.
        n_bytes: Length of its data.

    Raises:
        ImageError: `zero_size`, `unknown_encoding`, `wrong_step` or `truncated`.
    """
    kind = _KINDS.get(layout.encoding)
    if layout.width <= 0 or layout.height <= 0:
        raise ImageError(
            f"image has no pixels ({layout}): the camera driver must send its real size", cause="zero_size"
        )
    if kind is None:
        raise ImageError(
            f"unknown image encoding ({layout}): use one of {', '.join(sorted(_KINDS))}", cause="unknown_encoding"
        )
    row_bytes, rows = kind.row_bytes(layout.width), kind.rows(layout.height)
    if layout.step < row_bytes:
        raise ImageError(
            f"image step is wrong ({layout}): one row needs at least {row_bytes} bytes; "
            f"set step to the bytes from one row to the next",
            cause="wrong_step",
        )
    # Some drivers leave out the padding of the last row; nothing is missing then.
    needed = layout.step * (rows - 1) + row_bytes
    if n_bytes < needed:
        raise ImageError(
            f"image data is truncated ({layout}): {n_bytes} bytes came, {needed} are needed", cause="truncated"
        )
    if n_bytes > layout.step * rows:
        raise ImageError(
            f"image step is wrong ({layout}): {n_bytes} bytes came, {rows} rows of {layout.step} bytes "
            f"are only {layout.step * rows}",
            cause="wrong_step",
        )


def raw_to_rgb(data: Buffer, layout: RawLayout) -> Pixels:
    """Turn a raw image into RGB.

    Args:
        data: The message's bytes; anything with the buffer protocol.
        layout: The message's own description.

    Returns:
        (height, width, 3) uint8 RGB, C-contiguous. For `rgb8` without padding it is a view of
        `data`; otherwise a copy.

    Raises:
        ImageError: `zero_size`, `unknown_encoding`, `wrong_step`, `truncated` or `undecodable`.
    """
    flat = np.frombuffer(data, np.uint8)
    check_raw(layout, flat.size)
    kind = _KINDS[layout.encoding]
    dtype = np.dtype(kind.dtype).newbyteorder(">" if layout.is_bigendian else "<")
    columns = kind.row_bytes(layout.width) // (dtype.itemsize * kind.channels)
    shape = (kind.rows(layout.height), columns, kind.channels)
    strides = (layout.step, dtype.itemsize * kind.channels, dtype.itemsize)
    samples: NDArray[np.generic] = np.ndarray(shape, dtype, buffer=flat.data, strides=strides)
    if kind.channels == 1:
        samples = samples[..., 0]
    native = samples.astype(dtype.newbyteorder("="), copy=False)
    try:
        return np.ascontiguousarray(kind.to_rgb(native, layout))
    except cv2.error as error:
        raise ImageError(f"OpenCV cannot convert it ({layout}): {error}", cause="undecodable") from error


def _cv(samples: NDArray[np.generic], code: int) -> Pixels:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(samples), code), np.uint8)


def _to_8_bit(samples: NDArray[np.generic]) -> Pixels:
    return np.asarray(cv2.convertScaleAbs(np.ascontiguousarray(samples), alpha=255 / 65535), np.uint8)


def _colour(code: int | None) -> Callable[[NDArray[np.generic], RawLayout], Pixels]:
    """Interleaved samples; `code` is OpenCV's conversion, None when they are RGB already."""

    def to_rgb(samples: NDArray[np.generic], _layout: RawLayout) -> Pixels:
        eight_bit = np.asarray(samples, np.uint8) if samples.dtype == np.uint8 else _to_8_bit(samples)
        return eight_bit if code is None else _cv(eight_bit, code)

    return to_rgb


def _mosaic(code: int) -> Callable[[NDArray[np.generic], RawLayout], Pixels]:
    """A Bayer pattern, interpolated; the rim repeats its neighbours, so there must be an inside."""
    to_rgb = _colour(code)

    def checked(samples: NDArray[np.generic], layout: RawLayout) -> Pixels:
        if min(samples.shape) < 3:
            raise ImageError(f"a Bayer image needs at least 3x3 pixels ({layout})", cause="undecodable")
        return to_rgb(samples, layout)

    return checked


def _packed_yuv(code: int) -> Callable[[NDArray[np.generic], RawLayout], Pixels]:
    """Two pixels share one chroma pair; the last column of an odd width is decoded with its pair."""

    def to_rgb(samples: NDArray[np.generic], layout: RawLayout) -> Pixels:
        return _cv(samples, code)[:, : layout.width]

    return to_rgb


def _two_plane_yuv(code: int) -> Callable[[NDArray[np.generic], RawLayout], Pixels]:
    """A luma plane, then a half-size plane of interleaved chroma with the same step."""

    def to_rgb(samples: NDArray[np.generic], layout: RawLayout) -> Pixels:
        height, width = layout.height, layout.width
        luma = np.ascontiguousarray(samples[:height], np.uint8)
        # OpenCV wants even sizes: repeat the last row or column, then cut it off again.
        luma = np.pad(luma, ((0, height % 2), (0, 0)), mode="edge")
        chroma = np.ascontiguousarray(samples[height:], np.uint8)
        rgb = cv2.cvtColorTwoPlane(luma, chroma.reshape(chroma.shape[0], -1, 2), code)
        return np.asarray(rgb, np.uint8)[:height, :width]

    return to_rgb


def _depth(samples: NDArray[np.generic], _layout: RawLayout) -> Pixels:
    metres = samples.astype(np.float32)
    valid = np.isfinite(metres) & (metres > 0)
    grey = np.zeros(metres.shape, np.uint8)
    if valid.any():
        near, far = float(metres[valid].min()), float(metres[valid].max())
        scale = 254.0 / (far - near) if far > near else 0.0
        grey[valid] = np.rint(1.0 + (metres[valid] - near) * scale).astype(np.uint8)
    return _cv(grey, cv2.COLOR_GRAY2RGB)


_GREY = _colour(cv2.COLOR_GRAY2RGB)
_BGR, _BGRA, _RGBA = _colour(cv2.COLOR_BGR2RGB), _colour(cv2.COLOR_BGRA2RGB), _colour(cv2.COLOR_RGBA2RGB)
_UYVY = _Kind("u1", 2, _packed_yuv(cv2.COLOR_YUV2RGB_UYVY), group=2)
_YUY2 = _Kind("u1", 2, _packed_yuv(cv2.COLOR_YUV2RGB_YUY2), group=2)
# OpenCV names a Bayer pattern after its second row and column, ROS after the first.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}

_KINDS: dict[str, _Kind] = {
    "rgb8": _Kind("u1", 3, _colour(None)),
    "rgba8": _Kind("u1", 4, _RGBA),
    "bgr8": _Kind("u1", 3, _BGR),
    "bgra8": _Kind("u1", 4, _BGRA),
    "8UC1": _Kind("u1", 1, _GREY),
    "8UC3": _Kind("u1", 3, _BGR),
    "8UC4": _Kind("u1", 4, _BGRA),
    "mono8": _Kind("u1", 1, _GREY),
    "rgb16": _Kind("u2", 3, _colour(None)),
    "rgba16": _Kind("u2", 4, _RGBA),
    "bgr16": _Kind("u2", 3, _BGR),
    "bgra16": _Kind("u2", 4, _BGRA),
    "16UC3": _Kind("u2", 3, _BGR),
    "16UC4": _Kind("u2", 4, _BGRA),
    "mono16": _Kind("u2", 1, _GREY),
    "16UC1": _Kind("u2", 1, _depth),
    "32FC1": _Kind("f4", 1, _depth),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUY2,
    "yuv422_yuy2": _YUY2,
    "nv12": _Kind("u1", 1, _two_plane_yuv(cv2.COLOR_YUV2RGB_NV12), group=2, planes=3),
    "nv21": _Kind("u1", 1, _two_plane_yuv(cv2.COLOR_YUV2RGB_NV21), group=2, planes=3),
    **{f"bayer_{name}8": _Kind("u1", 1, _mosaic(code)) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": _Kind("u2", 1, _mosaic(code)) for name, code in _BAYER.items()},
}
SUPPORTED_ENCODINGS = tuple(sorted(_KINDS))
