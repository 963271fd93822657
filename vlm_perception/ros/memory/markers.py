"""What is remembered -> markers of `~/memory_markers`."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from vlm_perception.drawing.class_colours import class_colours
from vlm_perception.ros.outputs.result_messages import sendable
from vlm_perception.world.remembered import RememberedObject

_FAINT, _FILLED = 0.1, 0.6
_TEXT_HEIGHT_M = 0.1
# A point still has a body in a viewer.
_THINNEST_M = 0.05


def memory_markers(objects: Sequence[RememberedObject]) -> MarkerArray:
    """Make a box and a text of each thing, the fainter the less sure it is; what was shown before goes first.

    A box is as wide as the thing in both directions, since nobody knows from where it is looked at. Without a stamp
    a viewer takes the frame where it is now.
    """
    markers = [Marker(action=Marker.DELETEALL)]
    by_label = class_colours(known.label for known in objects)
    for known in objects:
        header, (x, y, z) = Header(frame_id=known.frame_id), known.position_m
        width, height, _ = (max(_THINNEST_M, side) for side in known.size_m)
        red, green, blue = (part / 255 for part in by_label[known.label])
        thing = Marker(header=header, ns="things", id=known.id, type=Marker.CUBE, action=Marker.ADD)
        thing.pose = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(w=1.0))
        thing.scale = Vector3(x=width, y=width, z=height)
        thing.color = ColorRGBA(r=red, g=green, b=blue, a=_FAINT + known.belief * (_FILLED - _FAINT))
        text = Marker(header=header, ns="names", id=known.id, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
        text.pose = Pose(position=Point(x=x, y=y, z=z + height / 2 + _TEXT_HEIGHT_M), orientation=Quaternion(w=1.0))
        text.scale, text.text = Vector3(z=_TEXT_HEIGHT_M), sendable(f"{known.label} {known.belief:.0%}")
        text.color = ColorRGBA(r=red, g=green, b=blue, a=(1.0 + known.belief) / 2)
        markers += [thing, text]
    return MarkerArray(markers=markers)
