"""The depth of an image: which depth and which calibration belong to it, or why none does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_perception.errors import ImageError
from vlm_perception.types import WH, DetectedObject, FrameHeader
from vlm_perception.world.camera_model import CameraModel, CameraModelError, camera_of
from vlm_perception.world.lift import NoSpot, Spots, check_aligned, lift

# Stamp, nanoseconds, and a message, of ROS or of a bag.
Stamped = tuple[int, Any]
ReadDepth = Callable[[Any], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class DepthSource:
    """Where a camera's depth comes from.

    Attributes:
        depth_topic: Of depth that is aligned to the camera's images; named to people.
        info_topic: Of its calibration; named to people.
        tolerance_s: How far the stamp of depth may be from the image's.
        rectified: Whether the images are, so that the calibration's lens is not theirs.
    """

    depth_topic: str
    info_topic: str
    tolerance_s: float
    rectified: bool = False


@dataclass(frozen=True, slots=True)
class DepthView:
    """Depth of a frame, (h, w) float32 metres, NaN where there is none, and the calibration of the camera's images."""

    depth_m: NDArray[np.float32]
    camera: CameraModel


def depth_view(
    header: FrameHeader, image_wh: WH, depth: Stamped | None, info: Stamped | None, source: DepthSource, read: ReadDepth
) -> DepthView | NoSpot:
    """Read the depth of an image.

    Args:
        header: Of the image.
        image_wh: Its size.
        depth: The closest depth; None where there is none.
        info: The closest calibration.
        source: Where both come from.
        read: Turns the depth message into metres; raises ImageError.

    Returns:
        The view, or why the image has no depth.
    """
    camera = _checked(header.stamp_ns, depth, info, source)
    if isinstance(camera, NoSpot):
        return camera
    assert depth is not None
    try:
        depth_m = read(depth[1])
    except ImageError as error:
        return NoSpot(error.cause, f"{source.depth_topic}: {error}")
    depth_wh = (depth_m.shape[1], depth_m.shape[0])
    refused = check_aligned(image_wh, header.frame_id, depth_wh, depth[1].header.frame_id)
    if refused is not None:
        return NoSpot(refused.cause, f"{source.depth_topic}: {refused.text}")
    return DepthView(depth_m, camera)


def place(objects: Sequence[DetectedObject], image_wh: WH, view: DepthView | NoSpot) -> Spots:
    """Place objects of an image in the camera's optical frame; see `lift`."""
    return (view,) * len(objects) if isinstance(view, NoSpot) else lift(objects, image_wh, view.depth_m, view.camera)


def _checked(stamp_ns: int, depth: Stamped | None, info: Stamped | None, source: DepthSource) -> CameraModel | NoSpot:
    if depth is None:
        topic = source.depth_topic
        return NoSpot("no_depth", f"no depth came on {topic} yet: start it, or correct depth_topics")
    apart_s = abs(depth[0] - stamp_ns) * 1e-9
    if apart_s > source.tolerance_s:
        return NoSpot(
            "no_depth_at_stamp",
            f"the closest depth on {source.depth_topic} is {apart_s:.3f} s from the image, over depth_tolerance_s "
            f"{source.tolerance_s:g}: let the driver send both at once, or raise it",
        )
    if info is None:
        return NoSpot("no_camera_info", f"no calibration came on {source.info_topic}: let the driver send it")
    try:
        return camera_of(info[1], source.rectified)
    except CameraModelError as error:
        return NoSpot("bad_camera_info", f"{source.info_topic}: {error}")
