"""Truth as a simulator or a drawn camera records it: `vision_msgs/Detection2DArray` under the stamps of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recorded_bags import START_S, WH
from rosbags.rosbag2 import StoragePlugin, Writer

from vlm_perception.frames.bag_detections import DETECTIONS
from vlm_perception.frames.bag_writing import header_of, make, message_store
from vlm_perception.types import XYXY, FrameHeader

IMAGE_TOPIC, TRUTH_TOPIC = "/camera/image_raw", "/camera/truth"


def write_truth_bag(folder: Path, messages: Iterable[tuple[str, Any]]) -> Path:
    """Write messages by topic, 10 ms apart; bytes are a truth as it was damaged."""
    writer, connections = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP), dict[str, Any]()
    with writer:
        for number, (topic, message) in enumerate(messages):
            kind = DETECTIONS if isinstance(message, bytes) else message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=message_store())
            data = message if isinstance(message, bytes) else bytes(message_store().serialize_cdr(message, kind))
            writer.write(connections[topic], START_S * 10**9 + number * 10**7, data)
    return folder


def header(index: int) -> FrameHeader:
    return FrameHeader(START_S + index // 10, index % 10 * 10**8 + 7, "lens")


def image(index: int, rgb: NDArray[np.uint8] | None = None) -> Any:
    rgb = np.full((WH[1], WH[0], 3), index, np.uint8) if rgb is None else rgb
    fields = {"height": rgb.shape[0], "width": rgb.shape[1], "encoding": "rgb8", "is_bigendian": 0}
    return make(
        "sensor_msgs/msg/Image", header=header_of(header(index)), step=rgb.shape[1] * 3, data=rgb.ravel(), **fields
    )


def truth(index: int, *boxes: tuple[str, XYXY], theta: float = 0.0, also: Sequence[tuple[str, float]] = ()) -> Any:
    """Boxes by label; `also` are further hypotheses about each and their scores, that of the label's is 0.5."""
    stamp = header_of(header(index))
    detections = []
    for label, (left, top, right, bottom) in boxes:
        centre = make("vision_msgs/msg/Point2D", x=(left + right) / 2, y=(top + bottom) / 2)
        pose = make("vision_msgs/msg/Pose2D", position=centre, theta=theta)
        box = make("vision_msgs/msg/BoundingBox2D", center=pose, size_x=right - left, size_y=bottom - top)
        results = [hypothesis(name, score) for name, score in ((label, 0.5), *also)]
        detections.append(make("vision_msgs/msg/Detection2D", header=stamp, results=results, bbox=box, id=""))
    return make("vision_msgs/msg/Detection2DArray", header=stamp, detections=detections)


def hypothesis(label: str, score: float) -> Any:
    pose = make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
        orientation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
    return make(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        hypothesis=make("vision_msgs/msg/ObjectHypothesis", class_id=label, score=score),
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
    )
