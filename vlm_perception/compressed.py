"""Compressed camera images (JPEG, PNG and kin) <-> RGB pixels, without ROS.

A picture's EXIF orientation is ignored, because the camera's calibration belongs to the pixels as
they are stored.
"""

from __future__ import annotations

import cv2
import numpy as np

from vlm_perception.errors import ImageError
from vlm_perception.pixels import Buffer, Pixels

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SIGNATURES = (_JPEG, _PNG, b"RIFF", b"BM", b"II*\x00", b"MM\x00*")
# Cameras pad the end of a JPEG to whole blocks, so its end marker may lie some way before the end.
_TAIL_BYTES = 8192


def check_compressed(data: Buffer, declared_format: str) -> None:
    """Check a compressed image's first and last bytes, without decoding it.

    A JPEG or PNG whose end is missing is refused here, because OpenCV would fill the missing part
    with grey and report success.

    Args:
        data: The message's bytes.
        declared_format: `sensor_msgs/CompressedImage.format`.

    Raises:
        ImageError: `zero_size`, `unknown_encoding`, `truncated` or `undecodable`.
    """
    head, size = bytes(memoryview(data)[:16]), len(data)
    what = f"format {declared_format!r}, {size} bytes"
    if size == 0:
        raise ImageError(f"compressed image is empty ({what})", cause="zero_size")
    if "compresseddepth" in declared_format.lower():
        raise ImageError(
            f"compressed depth is not read ({what}): subscribe to the raw depth image "
            f"(image_transport: raw) or to a colour image",
            cause="unknown_encoding",
        )
    if not head.startswith(_SIGNATURES):
        raise ImageError(f"neither JPEG, PNG, WebP, BMP nor TIFF ({what})", cause="undecodable")
    tail = bytes(memoryview(data)[-_TAIL_BYTES:])
    end = b"\xff\xd9" if head.startswith(_JPEG) else b"IEND" if head.startswith(_PNG) else b""
    if end not in tail:
        raise ImageError(f"compressed image is truncated: its end is missing ({what})", cause="truncated")


def compressed_to_rgb(data: Buffer, declared_format: str) -> Pixels:
    """Decode a JPEG, PNG, WebP, BMP or TIFF.

    Args:
        data: The file's bytes.
        declared_format: `sensor_msgs/CompressedImage.format`, for messages only; the bytes decide.

    Returns:
        (height, width, 3) uint8 RGB; grey and 16-bit pictures are converted.

    Raises:
        ImageError: `zero_size`, `unknown_encoding`, `truncated` or `undecodable`.
    """
    check_compressed(data, declared_format)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(
            f"OpenCV cannot decode it (format {declared_format!r}): {error}", cause="undecodable"
        ) from error
    if bgr is None:
        raise ImageError(
            f"OpenCV cannot decode it (format {declared_format!r}, {len(data)} bytes)", cause="undecodable"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def rgb_to_jpeg(rgb: Pixels, quality: int) -> bytes:
    """Encode (height, width, 3) uint8 RGB as JPEG with a quality of 1..100.

    Raises:
        ImageError: `unencodable`, when the picture is larger than JPEG allows (65535 pixels a side).
    """
    try:
        ok, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise ImageError(
            f"{rgb.shape[1]}x{rgb.shape[0]} pixels do not fit a JPEG: {error}", cause="unencodable"
        ) from error
    if not ok:
        raise ImageError(f"{rgb.shape[1]}x{rgb.shape[0]} pixels do not fit a JPEG", cause="unencodable")
    return data.tobytes()
