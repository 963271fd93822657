"""Bytes of depth images -> metres along the optical axis, without ROS.

Raw depth follows REP 118: `16UC1` is millimetres, 0 where there is none; `32FC1` is metres, NaN or infinite where there
is none. `compressedDepth` is a PNG after the 12 bytes of image_transport_plugins' `ConfigHeader` (int32 format, float32
depthParamA, float32 depthParamB); its 32FC1 holds v = A / metres + B as 16 bits.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.errors import ImageError
from vlm_perception.frames.compressed import MAX_PIXELS
from vlm_perception.frames.encodings import Buffer, RawLayout, check_raw

Metres = NDArray[np.float32]
_ENCODINGS = ("16UC1", "32FC1")
_HEADER = struct.Struct("<iff")
_PNG = b"\x89PNG\r\n\x1a\n"


def depth_to_metres(data: Buffer, layout: RawLayout) -> Metres:
    """Turn a raw depth image into metres.

    Args:
        data: The message's bytes.
        layout: The message's own description, `16UC1` or `32FC1`.

    Returns:
        (height, width) float32 metres; NaN where there is none (zero, negative, NaN, infinite).

    Raises:
        ImageError: `unknown_encoding`, `zero_size`, `wrong_step` or `truncated`.
    """
    if layout.encoding not in _ENCODINGS:
        raise ImageError(
            f"not a depth image ({layout}): use one of {', '.join(_ENCODINGS)}; name a depth topic in depth_topics",
            cause="unknown_encoding",
        )
    flat = np.frombuffer(data, np.uint8)
    check_raw(layout, flat.size)
    dtype = np.dtype("u2" if layout.encoding == "16UC1" else "f4").newbyteorder(">" if layout.is_bigendian else "<")
    samples: NDArray[np.generic] = np.ndarray(
        (layout.height, layout.width), dtype, buffer=flat.data, strides=(layout.step, dtype.itemsize)
    )
    metres = samples.astype(np.float32)
    return _without_gaps(metres * np.float32(0.001) if layout.encoding == "16UC1" else metres)


def compressed_depth_to_metres(data: Buffer, declared_format: str) -> Metres:
    """Decode image_transport's `compressedDepth`.

    Args:
        data: The message's bytes: the 12 bytes of `ConfigHeader`, then a 16-bit grey PNG.
        declared_format: `sensor_msgs/CompressedImage.format`, such as `16UC1; compressedDepth png`.

    Returns:
        (height, width) float32 metres, NaN where there is none.

    Raises:
        ImageError: `unknown_encoding`, `truncated`, `too_large` or `undecodable`.
    """
    what = f"format {declared_format!r}, {len(data)} bytes"
    encoding = declared_format.partition(";")[0].strip()
    if encoding not in _ENCODINGS or "rvl" in declared_format.lower():
        raise ImageError(
            f"compressed depth of this kind is not read ({what}): 16UC1 and 32FC1 as PNG are; set the camera's "
            f"compressedDepth format to png, or subscribe to the raw depth image",
            cause="unknown_encoding",
        )
    raw = bytes(memoryview(data))
    if len(raw) < _HEADER.size + 33:
        raise ImageError(
            f"compressed depth is truncated ({what}): a header of 12 bytes and a PNG are needed", cause="truncated"
        )
    _, a, b = _HEADER.unpack_from(raw)
    png = raw[_HEADER.size :]
    if not png.startswith(_PNG) or png[24:26] != b"\x10\x00":
        raise ImageError(
            f"compressed depth is no 16-bit grey PNG after its first 12 bytes ({what}): publish it by "
            f"image_transport's compressedDepth",
            cause="undecodable",
        )
    if b"IEND" not in png[-64:]:
        raise ImageError(f"compressed depth is truncated: its end is missing ({what})", cause="truncated")
    width, height = struct.unpack(">II", png[16:24])
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"compressed depth is too large ({what}): {width}x{height} is over the limit of {MAX_PIXELS} pixels; "
            f"lower the camera's resolution",
            cause="too_large",
        )
    try:
        stored = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"OpenCV cannot decode compressed depth ({what}): {error}", cause="undecodable") from error
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
        raise ImageError(f"OpenCV cannot decode compressed depth ({what})", cause="undecodable")
    values = stored.astype(np.float32)
    if encoding == "16UC1":
        return _without_gaps(values * np.float32(0.001))
    with np.errstate(all="ignore"):
        metres = np.where(stored > 0, np.float32(a) / (values - np.float32(b)), np.float32(np.nan))
    return _without_gaps(metres.astype(np.float32))


def _without_gaps(metres: Metres) -> Metres:
    with np.errstate(invalid="ignore"):
        metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres
