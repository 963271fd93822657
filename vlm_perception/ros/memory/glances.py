"""One answer with its places in space -> what the memory is told of it."""

from __future__ import annotations

import cv2
import numpy as np

from vlm_perception.frames.compressed import rgb_to_jpeg
from vlm_perception.frames.encodings import Pixels
from vlm_perception.ros.outputs.result_messages import sendable
from vlm_perception.types import DetectedObject, Result, Task
from vlm_perception.world.boxes import box_of
from vlm_perception.world.field_of_view import FieldOfView
from vlm_perception.world.lift import Places, Spot
from vlm_perception.world.remembered import Glance, PlacedObject, RememberedObject

# Text and events are no things, and of descriptions nobody knows what is missing.
_OF_THINGS = (Task.DETECT, Task.GROUND, Task.POINT, Task.COUNT, Task.RAW)
_CUTOUT_PX, _CUTOUT_QUALITY = 160, 80
# Of the larger side of a box, around it: a thing is known by where it stands, too.
_CUTOUT_MARGIN = 0.15


def glance_of(result: Result, places: Places, view: FieldOfView | None) -> Glance | None:
    """Make what the memory is told of an answer.

    Args:
        result: The whole answer, about an image with a stamp.
        places: Of its objects.
        view: What was in view of that image; None where depth or the transform at its stamp is missing.

    Returns:
        The glance, or None where the answer says nothing of space. What was found but has no place, was refused, or was
        left out for its low score, may be any of what is remembered, so that nothing counts as missing then; nor where
        the answer is in words alone ("The mug stands on the left.").
    """
    frame, prompt = result.request.frame, result.request.prompt
    placed = [(item, spot) for item, spot in zip(result.objects, places.spots, strict=True) if isinstance(spot, Spot)]
    left_out = len(placed) < len(result.objects) or bool(result.rejects)
    in_words = not result.objects and bool(result.text.strip())
    complete = view is not None and result.answer.finish_reason == "stop" and not (left_out or in_words)
    if prompt.task not in _OF_THINGS or not (placed or complete):
        return None

    def sees(known: RememberedObject) -> bool:
        return view is not None and view.holds(known.position_m, known.size_m)

    objects = tuple(
        PlacedObject(sendable(item.label), spot.position_m, spot.size_m, item.score, cutout_jpeg(frame.rgb, item))
        for item, spot in placed
    )
    stamp_ns = frame.header.stamp_ns
    return Glance(places.frame_id, stamp_ns, frame.camera, prompt, objects, sees, complete)


def cutout_jpeg(rgb: Pixels, item: DetectedObject) -> bytes:
    """Cut a box, or what is around a point, out of an image, with a little beside it; a small JPEG."""
    height, width = rgb.shape[:2]
    left, top, right, bottom = box_of(item, (width, height))
    margin = _CUTOUT_MARGIN * max(right - left, bottom - top)
    # A box at the image's far edge, or one without any width, still shows a pixel.
    x = np.clip((np.floor(left - margin), np.ceil(right + margin)), 0, width).astype(int)
    y = np.clip((np.floor(top - margin), np.ceil(bottom + margin)), 0, height).astype(int)
    x[0], y[0] = min(x[0], width - 1), min(y[0], height - 1)
    part = rgb[y[0] : max(y[1], y[0] + 1), x[0] : max(x[1], x[0] + 1)]
    smaller = min(1.0, _CUTOUT_PX / max(part.shape[:2]))
    small_wh = (max(1, round(part.shape[1] * smaller)), max(1, round(part.shape[0] * smaller)))
    small = np.asarray(cv2.resize(part, small_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return rgb_to_jpeg(small, _CUTOUT_QUALITY)
