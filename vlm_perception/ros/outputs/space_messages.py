"""Objects with their places in space -> Detection3DArray, markers, and what `~/answer` says of them."""

from __future__ import annotations

import math
from typing import Any

from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import ColorRGBA
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from vlm_perception.drawing.class_colours import class_colours, is_faint
from vlm_perception.ros.outputs.result_messages import header_message
from vlm_perception.types import DetectedObject, Result
from vlm_perception.world.lift import NoSpot, Spot

_FAINT, _FILLED = 0.15, 0.4
_TEXT_HEIGHT_M = 0.08
# A point, or a thing seen edge on, still has a body in a viewer.
_THINNEST_M = 0.02


def detections_3d_message(result: Result, spots: tuple[Spot | NoSpot, ...]) -> Detection3DArray:
    """Make the array of those objects that have a place; frame and stamp are the image's own."""
    header, prompt_id = header_message(result.request.frame.header), result.request.prompt.id
    found = []
    for item, spot in zip(result.objects, spots, strict=True):
        if isinstance(spot, NoSpot):
            continue
        guess = ObjectHypothesisWithPose()
        guess.hypothesis.class_id = item.label.replace("\0", "")
        guess.hypothesis.score = 0.0 if item.score is None else float(item.score)
        guess.pose.pose = _pose(spot)
        for row in range(3):
            for column in range(3):
                guess.pose.covariance[6 * row + column] = spot.covariance_m2[3 * row + column]
        box = BoundingBox3D(center=_pose(spot), size=Vector3(**dict(zip("xyz", spot.size_m, strict=True))))
        found.append(Detection3D(header=header, results=[guess], bbox=box, id=prompt_id))
    return Detection3DArray(header=header, detections=found)


def markers_3d_message(result: Result, spots: tuple[Spot | NoSpot, ...]) -> MarkerArray:
    """Make a box and a text for each object with a place; what was shown before goes first, so that nothing stays."""
    header = header_message(result.request.frame.header)
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    by_label = class_colours((item.label for item in result.objects), result.request.prompt.targets)
    for number, (item, spot) in enumerate(zip(result.objects, spots, strict=True)):
        if isinstance(spot, NoSpot):
            continue
        red, green, blue = (part / 255 for part in by_label[item.label])
        box = Marker(header=header, ns="boxes", id=number, type=Marker.CUBE, action=Marker.ADD, pose=_pose(spot))
        box.scale = Vector3(**{axis: max(_THINNEST_M, side) for axis, side in zip("xyz", spot.size_m, strict=True)})
        box.color = ColorRGBA(r=red, g=green, b=blue, a=_FAINT if is_faint(item) else _FILLED)
        text = Marker(header=header, ns="labels", id=number, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
        text.pose, text.scale = _pose(spot), Vector3(z=_TEXT_HEIGHT_M)
        # Above it: the optical frame's y points down.
        text.pose.position.y -= spot.size_m[1] / 2 + _TEXT_HEIGHT_M
        text.color, text.text = ColorRGBA(r=red, g=green, b=blue, a=1.0), _caption(item, spot)
        markers += [box, text]
    return MarkerArray(markers=markers)


def spot_fields(spot: Spot | NoSpot) -> dict[str, Any]:
    """Keys of one object in `~/answer`: `position_m` and `size_m`, or `no_position` with `cause` and `text`."""
    if isinstance(spot, NoSpot):
        return {"no_position": {"cause": spot.cause, "text": spot.text}}
    return {"position_m": list(spot.position_m), "size_m": list(spot.size_m)}


def _caption(item: DetectedObject, spot: Spot) -> str:
    name = item.label.replace("\0", "")
    return f"{name}, {math.hypot(*spot.position_m):.1f} m"


def _pose(spot: Spot) -> Pose:
    position = Point(**dict(zip("xyz", spot.position_m, strict=True)))
    return Pose(position=position, orientation=Quaternion(**dict(zip("xyzw", spot.quaternion_xyzw, strict=True))))
