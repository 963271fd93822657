"""sensor_msgs Image and CompressedImage <-> RGB arrays.

What the encodings mean is in `frames/encodings.py`; one that is not in there goes through cv_bridge.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vlm_perception.errors import ImageError
from vlm_perception.frames.compressed import check_compressed, compressed_to_rgb, rgb_to_jpeg
from vlm_perception.frames.depth import Metres, compressed_depth_to_metres, depth_to_metres
from vlm_perception.frames.encodings import Pixels, RawLayout, check_raw, raw_to_rgb
from vlm_perception.ros import cv_bridge_images
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.types import Frame, FrameHeader

_T = TypeVar("_T")
# What a message takes beside its pixels; one without any would be kept for ever.
_MESSAGE_BYTES = 1024


def bytes_of(message: Image | CompressedImage) -> int:
    """Return what a message takes in memory, about."""
    return len(message.data) + _MESSAGE_BYTES


def pending_frame(message: Image | CompressedImage, camera: str, received_s: float) -> PendingFrame:
    """Check an image message cheaply and wrap it, so that its pixels are made only when needed.

    Args:
        message: Raw or compressed image; must not be changed afterwards.
        camera: Resolved topic name, for messages and answers.
        received_s: Monotonic time of arrival, seconds.

    Raises:
        ImageError: The message contradicts itself; the text names topic, encoding and sizes.
    """
    _naming(camera, lambda: _check(message))
    header = FrameHeader(message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id)

    def read() -> Frame:
        return Frame(_naming(camera, lambda: rgb_of(message)), header, camera, received_s)

    return PendingFrame(camera, received_s, read, header.stamp_ns)


def rgb_of(message: Image | CompressedImage) -> Pixels:
    """Return a message's pixels as (height, width, 3) uint8 RGB; a view of its data where possible.

    Raises:
        ImageError: The message contradicts itself or cannot be decoded.
    """
    if isinstance(message, CompressedImage):
        return compressed_to_rgb(message.data, message.format)
    try:
        return raw_to_rgb(message.data, _layout(message))
    except ImageError as error:
        if not _is_for_cv_bridge(error):
            raise
        return cv_bridge_images.read(message, error)


def metres_of(message: Image | CompressedImage) -> Metres:
    """Return a depth message as (height, width) float32 metres, NaN where there is none.

    Raises:
        ImageError: The message contradicts itself, is no depth, or cannot be decoded.
    """
    if isinstance(message, CompressedImage):
        return compressed_depth_to_metres(message.data, message.format)
    return depth_to_metres(message.data, _layout(message))


def image_message(rgb: Pixels, header: Header) -> Image:
    """Make an `rgb8` message of (height, width, 3) uint8 pixels."""
    height, width = rgb.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=width * 3)
    # Assigning bytes would copy element by element, 12 to 18 ms for a 720p frame.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(rgb).data)
    message.data = data
    return message


def jpeg_message(rgb: Pixels, header: Header, quality: int) -> CompressedImage:
    """Make a JPEG message of (height, width, 3) uint8 pixels, as image_transport names it.

    Raises:
        ImageError: The picture is larger than JPEG allows.
    """
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data = array.array("B", rgb_to_jpeg(rgb, quality))
    return message


def _layout(message: Image) -> RawLayout:
    return RawLayout(message.encoding, message.width, message.height, message.step, bool(message.is_bigendian))


def _check(message: Image | CompressedImage) -> None:
    if isinstance(message, CompressedImage):
        check_compressed(message.data, message.format)
        return
    try:
        check_raw(_layout(message), len(message.data))
    except ImageError as error:
        if not _is_for_cv_bridge(error):
            raise


def _is_for_cv_bridge(error: ImageError) -> bool:
    return error.cause == "unknown_encoding" and cv_bridge_images.may_read()


def _naming(camera: str, action: Callable[[], _T]) -> _T:
    """Run `action`; its ImageError gets the topic in front."""
    try:
        return action()
    except ImageError as error:
        raise ImageError(f"{camera}: {error}", cause=error.cause) from error
