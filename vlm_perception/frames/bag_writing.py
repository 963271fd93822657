"""Results as a ROS 2 bag (MCAP), with the definitions of vision_msgs inside, so that whoever opens it needs none."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from vlm_perception.errors import OutputError
from vlm_perception.frames.whole_files import disk_errors, make_folder
from vlm_perception.types import FrameHeader

# Those of interfaces/vision_msgs, which is not shipped without ROS; a test holds both to the same hashes.
_VISION_MSGS = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id"
    ),
    "Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections",
}


@cache
def message_store() -> Typestore:
    """ROS 2's own definitions and those of vision_msgs that results need; made once, which takes a second."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in _VISION_MSGS.items():
        store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    return store


def make(kind: str, **fields: Any) -> Any:
    """Make a message, such as of `std_msgs/msg/String`; every field has to be given."""
    return message_store().types[kind](**fields)


def header_of(header: FrameHeader) -> Any:
    """Make a `std_msgs/Header`."""
    stamp = make("builtin_interfaces/msg/Time", sec=header.stamp_sec, nanosec=header.stamp_nanosec)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=header.frame_id)


class BagWriter:
    """Writes a new bag, a folder as rosbag2 makes it; it is made with the first message.

    Args:
        path: The folder.

    Raises:
        OutputError: Something is there already, or nothing can be written there.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise OutputError(f"{path} exists, and bags are never overwritten: name another folder")
        make_folder(path.parent)
        self._path = path
        self._writer: Writer | None = None
        self._closing = ExitStack()
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, message: Any, recorded_ns: int) -> None:
        """Write one message.

        Args:
            topic: Its name; all its messages are of one type.
            message: As `make` gives it.
            recorded_ns: The time it is filed under, nanoseconds.

        Raises:
            OutputError: The disk is full, or somebody else made the folder meanwhile.
        """
        kind, store = message.__msgtype__, message_store()
        with disk_errors(str(self._path)):
            try:
                if self._writer is None:
                    writer = Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP)
                    self._writer = self._closing.enter_context(writer)
                if topic not in self._connections:
                    self._connections[topic] = self._writer.add_connection(topic, kind, typestore=store)
            except WriterError as error:
                raise OutputError(f"{self._path}: {error}; name another folder") from error
            self._writer.write(self._connections[topic], recorded_ns, store.serialize_cdr(message, kind))

    def flush(self) -> None:
        """Put what was written since the last call on the disk, so that kill -9 leaves it to be read.

        Raises:
            OutputError: The disk is full.
        """
        # rosbags alone ends a chunk when it is large, and keeps it in memory until then.
        storage: Any = None if self._writer is None else self._writer.storage
        if storage is not None:
            with disk_errors(str(self._path)):
                storage.close_chunk()
                storage.bio.flush()

    def close(self) -> None:
        """Write the index and the metadata; without them, as after kill -9, most readers take what is there as damaged.

        Raises:
            OutputError: The disk is full.
        """
        with disk_errors(str(self._path)):
            self._closing.close()
