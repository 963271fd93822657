"""Encodings that `frames/encodings.py` does not know, read by cv_bridge where that is installed and works.

apt's cv_bridge is built for NumPy 1, and beside NumPy 2 its compiled half prints tracebacks or ends the process. So it
is tried once in a process of its own before this one imports it.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels, RawLayout, raw_to_rgb

_log = logging.getLogger(__name__)
_MODULE = "cv_bridge"
_TRIAL_TIMEOUT_S = 30.0
# Colours are converted by the compiled half, and arrays cross into it.
_TRIAL = """
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
image = Image(height=2, width=2, encoding="bgr8", step=6, data=bytes(range(12)))
assert CvBridge().imgmsg_to_cv2(image, desired_encoding="rgb8").shape == (2, 2, 3)
"""


def may_read() -> bool:
    """Whether cv_bridge is installed; that it does not work shows when it is first needed."""
    return _is_installed() and (not _bridge.cache_info().currsize or _bridge() is not None)


def read(message: Image, unknown: ImageError) -> Pixels:
    """Return a message's pixels as cv_bridge reads them, (height, width, 3) uint8 RGB.

    What is no colour to it but has one channel is stretched as depth is.

    Args:
        message: Of an encoding that this package does not know.
        unknown: What says so; raised when cv_bridge does not work here.

    Raises:
        ImageError: `unknown_encoding`: cv_bridge cannot read it either.
    """
    bridge = _bridge()
    if bridge is None:
        raise unknown
    problem = ""
    for encoding in ("rgb8", "passthrough"):
        try:
            picture = np.asarray(bridge.imgmsg_to_cv2(message, desired_encoding=encoding))
        except Exception as error:  # noqa: BLE001 - cv_bridge raises its own, NumPy's and OpenCV's
            problem = problem or str(error)
            continue
        if rgb := _rgb_of(picture, message, is_colour=encoding == "rgb8"):
            return rgb[0]
    problem = problem or "what it makes of it is no picture"
    raise ImageError(f"{unknown}; cv_bridge cannot read it either: {problem}", cause=unknown.cause)


def _rgb_of(picture: np.ndarray[Any, np.dtype[Any]], message: Image, *, is_colour: bool) -> tuple[Pixels] | None:
    size = (message.height, message.width)
    if is_colour:
        fits = picture.dtype == np.uint8 and picture.shape == (*size, 3)
        return (np.ascontiguousarray(picture),) if fits else None
    if picture.shape not in (size, (*size, 1)) or picture.dtype.kind not in "iuf":
        return None
    depth = np.ascontiguousarray(picture, dtype="<f4")
    return (raw_to_rgb(depth.tobytes(), RawLayout("32FC1", message.width, message.height, 4 * message.width)),)


@cache
def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(_MODULE) is not None
    except ValueError:  # imported already, by something that is no file
        return True


@cache
def _bridge() -> Any:
    """Return a CvBridge, or None where it does not work in this environment."""
    if _MODULE not in sys.modules and not _trial_succeeds():
        _log.info("cv_bridge does not work here, so only the encodings of docs/cameras.md are read")
        return None
    from cv_bridge import CvBridge

    return CvBridge()


def _trial_succeeds() -> bool:
    try:
        trial = subprocess.run([sys.executable, "-c", _TRIAL], capture_output=True, timeout=_TRIAL_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return trial.returncode == 0
