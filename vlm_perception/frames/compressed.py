"""Compressed camera images (JPEG, PNG and kin) <-> RGB pixels, without ROS.

A picture's EXIF orientation is ignored, because the camera's calibration belongs to the pixels as
they are stored.

A JPEG carries no checksum, and OpenCV fills what a damaged one lacks with grey and reports success.
So FFmpeg reads it first, told to stop at the first mistake: that costs about as much again as
decoding it (4 ms at 1280x720), finds every missing end and nearly every lost piece, and cannot find
a changed bit that still spells valid codes. PNG, WebP, BMP and TIFF are checked by OpenCV itself.
"""

from __future__ import annotations

import io
import struct

import av
import cv2
import numpy as np
from PIL import Image

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Buffer, Pixels

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SIGNATURES = (_JPEG, _PNG, b"RIFF", b"BM", b"II*\x00", b"MM\x00*")
# Without this list Pillow would try its decoders of forty other formats on the bytes.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# Cameras pad the end of a JPEG to whole blocks, so its end marker may lie some way before the end.
_TAIL_BYTES = 8192
# image_transport writes the raw encoding in front: `16UC1; png compressed`.
_DEPTH_ENCODINGS = ("16uc1", "32fc1")
# A few bytes can claim to be any number of pixels; 8000x6000, a large camera, is 48 million.
MAX_PIXELS = 80_000_000
_REMEDY_DEPTH = "subscribe to the raw depth image (image_transport: raw) or to a colour image"


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
    head, size = bytes(memoryview(data)[:32]), len(data)
    what = f"format {declared_format!r}, {size} bytes"
    if size == 0:
        raise ImageError(f"compressed image is empty ({what})", cause="zero_size")
    if _is_depth(head, declared_format.lower()):
        raise ImageError(f"compressed depth is not read ({what}): {_REMEDY_DEPTH}", cause="unknown_encoding")
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
        (height, width, 3) uint8 RGB; grey, palette, CMYK and 16-bit pictures are converted, an
        alpha channel is ignored.

    Raises:
        ImageError: `zero_size`, `unknown_encoding`, `truncated`, `too_large` or `undecodable`.
    """
    check_compressed(data, declared_format)
    _check_size(data, declared_format)
    if bytes(memoryview(data)[:3]) == _JPEG:
        _check_jpeg(data, declared_format)
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


def _is_depth(head: bytes, declared_format: str) -> bool:
    """Tell depth from colour: by the declared encoding, or because nothing else is a 16-bit grey PNG."""
    encoding = declared_format.partition(";")[0].strip()
    if "compresseddepth" in declared_format or encoding in _DEPTH_ENCODINGS:
        return True
    # Bit depth and colour type of the header chunk: 16 bits, grey.
    return head.startswith(_PNG) and head[24:26] == b"\x10\x00" and encoding != "mono16"


def _check_size(data: Buffer, declared_format: str) -> None:
    """Read the size from the header, before anybody allocates memory for it."""
    what = f"format {declared_format!r}, {len(data)} bytes"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            width, height = picture.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"compressed image is too large ({what}): {error}", cause="too_large") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, UserWarning) as error:
        # Pillow warns of damaged TIFFs: an exception only where somebody made warnings errors.
        raise ImageError(f"compressed image has no readable header ({what}): {error}", cause="undecodable") from error
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"compressed image is too large ({what}): {width}x{height} is over the limit of {MAX_PIXELS} pixels; "
            f"lower the camera's resolution",
            cause="too_large",
        )


def _check_jpeg(data: Buffer, declared_format: str) -> None:
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    decoder.thread_count = 1
    try:
        decoder.decode(av.Packet(bytes(data)))
    except av.error.InvalidDataError as error:
        raise ImageError(
            f"JPEG is damaged (format {declared_format!r}, {len(data)} bytes): pieces were lost on their way; "
            f"check the camera's cable and bandwidth",
            cause="undecodable",
        ) from error
    except av.FFmpegError:
        # A rare kind that FFmpeg does not know: OpenCV decides.
        return


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
