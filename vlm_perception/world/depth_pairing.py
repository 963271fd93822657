"""Which depth and which calibration belong to an image, or why none does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from vlm_perception.world.camera_model import CameraModel, CameraModelError, camera_of
from vlm_perception.world.lift import NoSpot

_T = TypeVar("_T")


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


def pair(
    stamp_ns: int, depth: tuple[int, _T] | None, info: tuple[int, Any] | None, source: DepthSource
) -> tuple[_T, CameraModel] | NoSpot:
    """Check what is closest to an image.

    Args:
        stamp_ns: Of the image, nanoseconds.
        depth: Stamp, nanoseconds, and message of the closest depth; None where there is none.
        info: The same of the calibration.
        source: Where both come from.

    Returns:
        The depth message and the model of the camera's images, or why there is no depth for them.
    """
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
        return depth[1], camera_of(info[1], source.rectified)
    except CameraModelError as error:
        return NoSpot("bad_camera_info", f"{source.info_topic}: {error}")
