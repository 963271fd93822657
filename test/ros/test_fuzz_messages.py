"""Real image messages with any content, through the very calls the node's image callback makes."""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Time
from fuzz_images import COMPRESSED, IMAGES, FuzzCompressed, FuzzHeader, FuzzImage
from fuzz_profile import fuzz
from hypothesis import given
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vlm_perception.errors import ImageError
from vlm_perception.ros.image_messages import arrival_of
from vlm_perception.ros.result_messages import header_message


def header_of(header: FuzzHeader) -> Header:
    return Header(stamp=Time(sec=header.sec, nanosec=header.nanosec), frame_id=header.frame_id)


def message_of(image: FuzzImage | FuzzCompressed) -> Image | CompressedImage:
    if isinstance(image, FuzzCompressed):
        message = CompressedImage(header=header_of(image.header), format=image.format)
    else:
        message = Image(
            header=header_of(image.header),
            encoding=image.encoding,
            width=image.width,
            height=image.height,
            step=image.step,
            is_bigendian=image.is_bigendian,
        )
    message.data = array.array("B", image.data)
    # What the wire does to it: a NUL ends a string.
    return deserialize_message(serialize_message(message), type(message))


@fuzz
@given(IMAGES | COMPRESSED)
def test_any_message_gives_a_frame_with_its_own_header_or_an_image_error(image: FuzzImage | FuzzCompressed) -> None:
    message = message_of(image)
    try:
        frame = arrival_of(message, "/front/image", 1.0).read()
    except ImageError as error:
        assert (str(error)[:14], error.cause.isidentifier()) == ("/front/image: ", True)  # noqa: PT017 - a frame is as good
        return
    assert (frame.rgb.ndim, frame.rgb.shape[2], frame.rgb.dtype) == (3, 3, np.uint8)
    assert header_message(frame.header) == message.header
