"""ROS messages of what `fuzz_images.py` draws."""

from __future__ import annotations

import array

from builtin_interfaces.msg import Time
from fuzz_images import FuzzCompressed, FuzzHeader, FuzzImage
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header


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
