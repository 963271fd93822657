"""Answers as the messages that the node would have published, for bags; no ROS needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from vlm_perception.frames.bag_writing import header_of, make
from vlm_perception.types import DetectedObject, FrameHeader
from vlm_perception.world.lift import Places, Spot
from vlm_perception.world.transforms import XYZ, XYZW


def detections(objects: Iterable[DetectedObject], header: FrameHeader) -> Any:
    """Make a `vision_msgs/Detection2DArray` of boxes and points, in pixels of the image of that header."""
    made = header_of(header)
    found = [_detection(item, made) for item in objects]
    return make("vision_msgs/msg/Detection2DArray", header=made, detections=found)


def detections_3d(objects: Iterable[DetectedObject], places: Places, header: FrameHeader) -> Any:
    """Make a `vision_msgs/Detection3DArray` of those objects that have a place, at the stamp of the image."""
    made = header_of(replace(header, frame_id=places.frame_id))
    pairs = zip(objects, places.spots, strict=True)
    found = [_detection_3d(item, spot, made) for item, spot in pairs if isinstance(spot, Spot)]
    return make("vision_msgs/msg/Detection3DArray", header=made, detections=found)


def _detection(item: DetectedObject, header: Any) -> Any:
    """As `ros/outputs/result_messages.py` makes it: a point is a box of size 0."""
    left, top, right, bottom = item.xyxy or (*(item.point_xy or (0.0, 0.0)), *(item.point_xy or (0.0, 0.0)))
    middle = make("vision_msgs/msg/Point2D", x=(left + right) / 2, y=(top + bottom) / 2)
    centre = make("vision_msgs/msg/Pose2D", position=middle, theta=0.0)
    box = make("vision_msgs/msg/BoundingBox2D", center=centre, size_x=float(right - left), size_y=float(bottom - top))
    guess = _guess(item, _pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)), np.zeros((3, 3)))
    return make("vision_msgs/msg/Detection2D", header=header, results=[guess], bbox=box, id=item.id)


def _detection_3d(item: DetectedObject, spot: Spot, header: Any) -> Any:
    """As `ros/outputs/space_messages.py` makes it."""
    pose = _pose(spot.position_m, spot.quaternion_xyzw)
    size = make("geometry_msgs/msg/Vector3", **dict(zip("xyz", spot.size_m, strict=True)))
    box = make("vision_msgs/msg/BoundingBox3D", center=pose, size=size)
    guess = _guess(item, pose, np.reshape(spot.covariance_m2, (3, 3)))
    return make("vision_msgs/msg/Detection3D", header=header, results=[guess], bbox=box, id=item.id)


def _guess(item: DetectedObject, pose: Any, covariance_m2: Any) -> Any:
    """Label and score, an unknown one 0, and where it is, with the (3, 3) covariance of its position."""
    hypothesis = make(
        "vision_msgs/msg/ObjectHypothesis",
        class_id=item.label.replace("\0", ""),
        score=0.0 if item.score is None else float(item.score),
    )
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = covariance_m2
    with_covariance = make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance.ravel())
    return make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=with_covariance)


def _pose(position_m: XYZ, quaternion_xyzw: XYZW) -> Any:
    return make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", **dict(zip("xyz", position_m, strict=True))),
        orientation=make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", quaternion_xyzw, strict=True))),
    )
