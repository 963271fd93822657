"""The answers of one browser's session, newest first; small enough to keep."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vlm_perception.apps.web.show import Shown
from vlm_perception.frames.encodings import Pixels

MAX_KEPT = 12
_PICTURE_SIDE_PX, _THUMBNAIL_SIDE_PX = 1280, 240


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer.

    Attributes:
        shown: What was shown, without its picture.
        jpeg: The picture, at most 1280 px a side.
        thumbnail: (height, width, 3) uint8 RGB, at most 240 px a side.
    """

    shown: Shown
    jpeg: bytes
    thumbnail: Pixels

    @classmethod
    def of(cls, shown: Shown) -> Kept:
        """Keep a whole answer; it has to have a picture."""
        assert shown.picture is not None
        picture = _shrunk(shown.picture, _PICTURE_SIDE_PX)
        return cls(replace(shown, picture=None), _encoded(picture), _shrunk(picture, _THUMBNAIL_SIDE_PX))

    def again(self) -> Shown:
        """Return what was shown, with its picture."""
        bgr = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        return replace(self.shown, picture=np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))


History = tuple[Kept, ...]


def remember(history: History, shown: Shown) -> History:
    """Put a whole answer at the beginning; the oldest goes when there are too many."""
    return (Kept.of(shown), *history)[:MAX_KEPT]


def _shrunk(rgb: Pixels, side_px: int) -> Pixels:
    height, width = rgb.shape[:2]
    scale = min(1.0, side_px / max(width, height))
    small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb, small_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _encoded(rgb: Pixels) -> bytes:
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return jpeg.tobytes()
