"""Real bags, written by rosbags: a camera's images, raw or as JPEG, each of one grey that tells its number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vlm_perception.frames.compressed import rgb_to_jpeg

STORE = get_typestore(Stores.ROS2_JAZZY)
IMAGE, JPEG, TEXT = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "std_msgs/msg/String"
START_S = 1_700_000_000
STORAGES = [
    ("sqlite3", "none"), ("sqlite3", "message"), ("sqlite3", "file"),
    ("mcap", "none"), ("mcap", "message"), ("mcap", "file"), ("mcap", "storage"),
]  # fmt: skip
WH = (64, 48)


def header(index: int, rate_hz: float = 10.0, frame_id: str = "lens") -> Any:
    sec, nanosec = divmod(round(index / rate_hz * 1e9), 10**9)
    time = STORE.types["builtin_interfaces/msg/Time"](sec=START_S + sec, nanosec=nanosec + 7)
    return STORE.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image(index: int, encoding: str = "rgb8", channels: int = 3, **more: Any) -> Any:
    data = np.full((WH[1], WH[0], channels), index % 20 * 10, np.uint8)
    fields = {"header": header(index), "height": WH[1], "width": WH[0], "encoding": encoding, "is_bigendian": 0}
    return STORE.types[IMAGE](**{**fields, "step": WH[0] * channels, "data": data.ravel(), **more})


def jpeg(index: int) -> Any:
    data = np.frombuffer(rgb_to_jpeg(np.full((WH[1], WH[0], 3), index % 20 * 10, np.uint8), 95), np.uint8)
    return STORE.types[JPEG](header=header(index), format="rgb8; jpeg compressed bgr8", data=data)


def calibration(index: int, focal_px: float = 50.0) -> Any:
    """Of a pinhole that looks along the middle of the image."""
    make, roi = STORE.types["sensor_msgs/msg/CameraInfo"], STORE.types["sensor_msgs/msg/RegionOfInterest"]
    k = np.array([focal_px, 0.0, WH[0] / 2 - 0.5, 0.0, focal_px, WH[1] / 2 - 0.5, 0.0, 0.0, 1.0])
    return make(
        header=header(index), height=WH[1], width=WH[0], distortion_model="plumb_bob", d=np.zeros(5), k=k,
        r=np.zeros(9), p=np.zeros(12), binning_x=0, binning_y=0,
        roi=roi(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )  # fmt: skip


def transforms(index: int, child: str, parent: str = "base") -> Any:
    """A frame that is so many metres along x in its parent."""
    types = STORE.types
    transform = types["geometry_msgs/msg/Transform"](
        translation=types["geometry_msgs/msg/Vector3"](x=float(index), y=0.0, z=0.0),
        rotation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
    )
    stamped = types["geometry_msgs/msg/TransformStamped"](
        header=header(index, frame_id=parent), child_frame_id=child, transform=transform
    )
    return types["tf2_msgs/msg/TFMessage"](transforms=[stamped])


def text(words: str) -> Any:
    return STORE.types[TEXT](data=words)


def write_bag(
    folder: Path,
    messages: Iterable[tuple[str, int, Any]],
    storage: str = "mcap",
    compression: str = "none",
    version: Literal[8, 9] = 9,
) -> Path:
    """Write messages: topic, time of recording (ns after the start), and the message, or its bytes for a raw image."""
    writer = Writer(folder, version=version, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    connections: dict[str, Any] = {}
    with writer:
        for topic, after_ns, message in messages:
            kind = IMAGE if isinstance(message, bytes) else message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = message if isinstance(message, bytes) else bytes(STORE.serialize_cdr(message, kind))
            writer.write(connections[topic], START_S * 10**9 + after_ns, data)
    return folder


def camera(count: int, make: Any = image, topic: str = "/camera/image_raw") -> list[tuple[str, int, Any]]:
    """So many images at 10 Hz, with words on another topic between them."""
    pairs = ([(topic, index * 10**8, make(index)), ("/words", index * 10**8 + 1, text("x"))] for index in range(count))
    return [message for pair in pairs for message in pair]
