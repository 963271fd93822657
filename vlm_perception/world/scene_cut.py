"""Tells a cut, after which the camera shows something else, from motion."""

from __future__ import annotations

import cv2
import numpy as np

from vlm_perception.world.flow import fit, follow, grid
from vlm_perception.world.kept_frames import KeptFrame

_THUMBNAIL_WH = (16, 9)
_ALIKE = 0.4
# Grey levels; pictures that differ by less are alike, as all dark ones are.
_LEAST_DIFFERENCE = 16.0
_GRID_WH = (10, 6)
# Of the picture's points, how many go together where a camera was but turned fast.
_TOGETHER = 0.15


def is_cut(before: KeptFrame, after: KeptFrame) -> bool:
    """Tell whether two frames in a row have nothing in common; a change of light and a fast turn are no cuts."""
    if cv2.absdiff(before.grey, after.grey).mean() < _LEAST_DIFFERENCE:
        return False
    first, second = (
        cv2.resize(each.grey, _THUMBNAIL_WH, interpolation=cv2.INTER_AREA).astype(np.float64)
        for each in (before, after)
    )
    first, second = first - first.mean(), second - second.mean()
    if (first * second).sum() > _ALIKE * np.sqrt((first**2).sum() * (second**2).sum()):
        return False
    points = grid(before.grey.shape, _GRID_WH)
    moved, followed = follow(before.grey, after.grey, points)
    *_, along = fit(points[None], moved[None], followed[None].astype(np.float64), most_turn=0.12)
    return bool(along.sum() < _TOGETHER * points.size)
