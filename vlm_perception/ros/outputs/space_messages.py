"""Objects with their places in space -> Detection3DArray and markers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import ColorRGBA, Header
from vision_msgs.msg import BoundingBox3D, Detection3D, Detection3DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from vlm_perception.drawing.class_colours import class_colours, is_faint
from vlm_perception.ros.outputs.result_messages import header_message
from vlm_perception.types import DetectedObject, FrameHeader, Result
from vlm_perception.world.lift import NoSpot, Places, Spot
from vlm_perception.world.tracks import Track, Tracks
from vlm_perception.world.transforms import Transform

_FAINT, _FILLED = 0.15, 0.4
_TEXT_HEIGHT_M = 0.08
# A point, or a thing seen edge on, still has a body in a viewer.
_THINNEST_M = 0.02


def detections_3d_message(result: Result, places: Places) -> Detection3DArray:
    """Make the array of those objects that have a place, at the stamp of the image."""
    header, prompt_id = _header(result.request.frame.header, places), result.request.prompt.id
    return _array([(item, item.id or prompt_id) for item in result.objects], header, places)


def tracks_3d_message(tracks: Tracks, places: Places) -> Detection3DArray:
    """Make the array of what is followed and has a place, at the stamp of the frame."""
    items = [(track.object, track.object.id or track.prompt.id) for track in tracks.tracks]
    return _array(items, _header(tracks.header, places), places)


def _array(items: Sequence[tuple[DetectedObject, str]], header: Header, places: Places) -> Detection3DArray:
    found = []
    for (item, name), spot in zip(items, places.spots, strict=True):
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
        found.append(Detection3D(header=header, results=[guess], bbox=box, id=name))
    return Detection3DArray(header=header, detections=found)


def markers_3d_message(result: Result, places: Places) -> MarkerArray:
    """Make a box and a text for each object with a place; what was shown before goes first, so that nothing stays."""
    header, prompt = _header(result.request.frame.header, places), result.request.prompt
    items = [_Shown(item, item.id or prompt.id, is_faint(item)) for item in result.objects]
    return _markers(items, header, places, prompt.targets)


def track_markers_message(tracks: Tracks, places: Places, is_sure: Callable[[Track], bool]) -> MarkerArray:
    """Make the same of what is followed; what is not sure is faint."""
    items = [
        _Shown(each.object, each.object.id or each.prompt.id, is_faint(each.object) or not is_sure(each))
        for each in tracks.tracks
    ]
    targets = tuple(dict.fromkeys(target for each in tracks.tracks for target in each.prompt.targets))
    return _markers(items, _header(tracks.header, places), places, targets)


@dataclass(frozen=True, slots=True)
class _Shown:
    """An object in a viewer, by which id, and whether faintly."""

    object: DetectedObject
    name: str
    faint: bool


def _markers(items: Sequence[_Shown], header: Header, places: Places, targets: Sequence[str]) -> MarkerArray:
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    by_label = class_colours((item.object.label for item in items), targets)
    for number, (item, spot) in enumerate(zip(items, places.spots, strict=True)):
        if isinstance(spot, NoSpot):
            continue
        red, green, blue = (part / 255 for part in by_label[item.object.label])
        box = Marker(header=header, ns="boxes", id=number, type=Marker.CUBE, action=Marker.ADD, pose=_pose(spot))
        box.scale = Vector3(**{axis: max(_THINNEST_M, side) for axis, side in zip("xyz", spot.size_m, strict=True)})
        box.color = ColorRGBA(r=red, g=green, b=blue, a=_FAINT if item.faint else _FILLED)
        text = Marker(header=header, ns="labels", id=number, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
        text.pose, text.scale = _pose(spot), Vector3(z=_TEXT_HEIGHT_M)
        if places.is_optical:
            text.pose.position.y -= spot.size_m[1] / 2 + _TEXT_HEIGHT_M
        else:
            text.pose.position.z += _half_height_m(spot) + _TEXT_HEIGHT_M
        text.color, text.text = ColorRGBA(r=red, g=green, b=blue, a=1.0), _caption(item, spot)
        markers += [box, text]
    return MarkerArray(markers=markers)


def _caption(item: _Shown, spot: Spot) -> str:
    name = f"{item.object.label} {item.name}".strip().replace("\0", "")
    return f"{name}, {spot.distance_m:.1f} m"


def _header(image: FrameHeader, places: Places) -> Header:
    header = header_message(image)
    header.frame_id = places.frame_id
    return header


def _half_height_m(spot: Spot) -> float:
    """Return how far a turned box reaches above its middle."""
    upward = Transform((0.0, 0.0, 0.0), spot.quaternion_xyzw).rotation()[2]
    return sum(abs(float(part)) * side for part, side in zip(upward, spot.size_m, strict=True)) / 2


def _pose(spot: Spot) -> Pose:
    position = Point(**dict(zip("xyz", spot.position_m, strict=True)))
    return Pose(position=position, orientation=Quaternion(**dict(zip("xyzw", spot.quaternion_xyzw, strict=True))))
