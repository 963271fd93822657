"""`vision_msgs/Detection2DArray` messages of a bag -> boxes. No ROS needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vlm_perception.errors import DatasetError
from vlm_perception.frames.bag_writing import message_store
from vlm_perception.frames.bags import BagMessage
from vlm_perception.types import XYXY

DETECTIONS = "vision_msgs/msg/Detection2DArray"


@dataclass(frozen=True, slots=True)
class RecordedBox:
    """One detection.

    Attributes:
        label: `class_id` of its best hypothesis; empty where it has none.
        xyxy: In pixels of the image; of a turned box what bounds it, of a point without an area.
    """

    label: str
    xyxy: XYXY


def read_detections(message: BagMessage) -> tuple[RecordedBox, ...]:
    """Read one message.

    Raises:
        DatasetError: It is damaged, or of a vision_msgs before 4 (ROS 2 Humble), whose boxes had another form.
    """
    try:
        content: Any = message_store().deserialize_cdr(message.data, DETECTIONS)
        return tuple(_box(each) for each in content.detections)
    except Exception as error:
        raise DatasetError(
            f"{message.topic}: {len(message.data)} bytes are no {DETECTIONS} of ROS 2 Humble or later "
            f"({' '.join(str(error).split()) or type(error).__name__}): record it anew"
        ) from error


def _box(detection: Any) -> RecordedBox:
    centre, (width, height) = detection.bbox.center, (detection.bbox.size_x, detection.bbox.size_y)
    cos, sin = abs(math.cos(centre.theta)), abs(math.sin(centre.theta))
    half_w, half_h = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
    x, y = centre.position.x, centre.position.y
    best = max((each.hypothesis for each in detection.results), key=lambda one: one.score, default=None)
    return RecordedBox("" if best is None else best.class_id, (x - half_w, y - half_h, x + half_w, y + half_h))
