"""Moves an object's box and points; places are complex, x + iy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vlm_perception.types import WH, XY, XYXY, DetectedObject
from vlm_perception.world.carrying import Carried


def centre_of(xyxy: XYXY) -> complex:
    """Give a box's centre."""
    return complex((xyxy[0] + xyxy[2]) / 2, (xyxy[1] + xyxy[3]) / 2)


def half_of(xyxy: XYXY) -> complex:
    """Give half of a box's width and height."""
    return complex((xyxy[2] - xyxy[0]) / 2, (xyxy[3] - xyxy[1]) / 2)


def moved(thing: DetectedObject, move: Callable[[XY], XY]) -> DetectedObject:
    """Move an object's box, corner by corner, and its points."""
    xyxy = thing.xyxy
    return replace(
        thing,
        xyxy=None if xyxy is None else (*move(xyxy[:2]), *move(xyxy[2:])),
        point_xy=None if thing.point_xy is None else move(thing.point_xy),
        polygon=tuple(move(each) for each in thing.polygon),
        keypoints={name: move(each) for name, each in thing.keypoints.items()},
    )


def placed(thing: DetectedObject, origin: complex, carried: Carried, scale: float, image_wh: WH) -> DetectedObject:
    """Put an object where it was carried to.

    Args:
        thing: As the model saw it, pixels of the frame that was asked about.
        origin: Centre of its box there.
        carried: Where it is now.
        scale: Pixels of the frame per pixel of a kept frame.
        image_wh: The box is cut at the image's edges, as a model's are.
    """
    centre = carried.centre * scale

    def move(at: XY) -> XY:
        there = centre + carried.turn * (complex(*at) - origin)
        return there.real, there.imag

    there = moved(thing, move)
    if thing.xyxy is None:
        return there
    half = half_of(thing.xyxy)
    outline = carried.turn * (half.real * carried.outline.real + 1j * half.imag * carried.outline.imag)
    middle = complex(*move((thing.xyxy[0] + half.real, thing.xyxy[1] + half.imag)))
    x, y = (0.0, float(image_wh[0])), (0.0, float(image_wh[1]))
    return replace(
        there,
        xyxy=(
            float(np.clip(middle.real + outline.real.min(), *x)),
            float(np.clip(middle.imag + outline.imag.min(), *y)),
            float(np.clip(middle.real + outline.real.max(), *x)),
            float(np.clip(middle.imag + outline.imag.max(), *y)),
        ),
    )
