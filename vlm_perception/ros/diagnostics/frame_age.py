"""How old an image is by its stamp, and when its stamp cannot tell. No ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlm_perception.types import FrameHeader

# Simulated time comes in steps, and clocks of two machines are never quite the same.
_TOLERANCE_S = 0.1


@dataclass(frozen=True, slots=True)
class FrameAge:
    """An age, or why there is none.

    Attributes:
        age_s: Seconds since the stamp, never negative; None when the stamp cannot tell.
        problem: "no_stamp" for a stamp of zero, "stamp_ahead" for one that is ahead of the clock; else empty.
        text: What is wrong and what to do; empty when nothing is.
    """

    age_s: float | None
    problem: Literal["", "no_stamp", "stamp_ahead"] = ""
    text: str = ""


def frame_age(header: FrameHeader, now_s: float, camera: str) -> FrameAge:
    """Tell how old an image is.

    Args:
        header: Of the image.
        now_s: The node's clock, which may be simulated and may have gone back, seconds.
        camera: Resolved topic, for the text.
    """
    if header.stamp_sec == 0 and header.stamp_nanosec == 0:
        text = f"images of {camera} carry no stamp (0.0), so their age is unknown; let the camera's driver stamp them"
        return FrameAge(None, "no_stamp", text)
    age_s = now_s - header.stamp_sec - header.stamp_nanosec * 1e-9
    if age_s < -_TOLERANCE_S:
        text = (
            f"an image of {camera} was stamped {-age_s:.2f} s ahead of the node's clock, which is at {now_s:.2f} s, so "
            f"its age is unknown; synchronise the clocks or, with use_sim_time, see that /clock is published"
        )
        return FrameAge(None, "stamp_ahead", text)
    return FrameAge(max(0.0, age_s))
