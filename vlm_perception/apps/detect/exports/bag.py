"""A bag of results beside a bag of images: what the node would have published, under the stamps of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vlm_perception.apps.detect.exports.jsonl import place_fields
from vlm_perception.apps.detect.inputs import Picture
from vlm_perception.drawing.annotate import annotate
from vlm_perception.frames.bag_writing import BagWriter, header_of, make
from vlm_perception.frames.compressed import rgb_to_jpeg
from vlm_perception.replies.result_json import one_line, result_fields
from vlm_perception.types import DetectedObject, Result

DETECTIONS = "/vlm_perception/detections"
ANNOTATED = "/vlm_perception/annotated_image/compressed"
ANSWER = "/vlm_perception/answer"
_QUALITY = 90


class ResultBag:
    """Writes detections, annotated images and answers, each filed when its image was recorded.

    Args:
        path: The folder of the new bag.

    Raises:
        OutputError: Something is there already, or nothing can be written there.
    """

    def __init__(self, path: Path) -> None:
        self._writer = BagWriter(path)
        self._path = path
        self._answered = self._left_out = 0

    def add(self, picture: Picture, result: Result) -> None:
        """Write one answer; that about an image without a stamp, which is none of a bag, is left out."""
        if picture.header is None or picture.recorded_ns is None:
            self._left_out += 1
            return
        header = header_of(picture.header)
        jpeg = np.frombuffer(rgb_to_jpeg(annotate(picture.rgb, result), _QUALITY), np.uint8)
        image = make("sensor_msgs/msg/CompressedImage", header=header, format="rgb8; jpeg compressed bgr8", data=jpeg)
        found = [_detection(item, header) for item in result.objects]
        text = one_line({**place_fields(picture), **result_fields(result)})
        for topic, message in (
            (DETECTIONS, make("vision_msgs/msg/Detection2DArray", header=header, detections=found)),
            (ANNOTATED, image),
            (ANSWER, make("std_msgs/msg/String", data=text)),
        ):
            self._writer.write(topic, message, picture.recorded_ns)
        self._answered += 1

    def close(self) -> tuple[str, ...]:
        """Finish the bag.

        Returns:
            What it could not hold.
        """
        self._writer.close()
        notes: list[str] = []
        if not self._answered:
            notes.append(f"nothing was answered of a bag: {self._path} is not made")
        if self._left_out:
            notes.append(f"{self._left_out} pictures that are in no bag have no stamps: left out of {self._path}")
        return tuple(notes)


def _detection(item: DetectedObject, header: Any) -> Any:
    """As `ros/outputs/result_messages.py` makes it: a point is a box of size 0, an unknown score 0."""
    left, top, right, bottom = item.xyxy or (*(item.point_xy or (0.0, 0.0)), *(item.point_xy or (0.0, 0.0)))
    middle = make("vision_msgs/msg/Point2D", x=(left + right) / 2, y=(top + bottom) / 2)
    centre = make("vision_msgs/msg/Pose2D", position=middle, theta=0.0)
    nowhere = make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
        orientation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
    hypothesis = make(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        hypothesis=make(
            "vision_msgs/msg/ObjectHypothesis",
            class_id=item.label.replace("\0", ""),
            score=0.0 if item.score is None else float(item.score),
        ),
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=nowhere, covariance=np.zeros(36)),
    )
    box = make("vision_msgs/msg/BoundingBox2D", center=centre, size_x=float(right - left), size_y=float(bottom - top))
    return make("vision_msgs/msg/Detection2D", header=header, results=[hypothesis], bbox=box, id=item.id)
