"""Whether a place was in view of an image: inside of what was looked at, near enough, and hidden by nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm_perception.types import WH, XYXY
from vlm_perception.world.camera_model import CameraModel
from vlm_perception.world.transforms import XYZ, Transform

# A point has no size, and a thing seen edge on little: what is looked for is this large at least.
_SMALLEST_M = 0.06
# Of the image's longer side: what covers less is found or not by chance.
_LEAST_SHARE = 0.02
_SIDE = 9  # samples across the middle of the place
_LEAST_VALID = 0.2  # of them with a depth: with fewer nobody knows what is there
_LEAST_FREE = 0.75  # of those with one, not nearer than the place
# Depth and the robot's own place are that wrong.
_TOLERANCE_M, _TOLERANCE_SHARE = 0.1, 0.05
# Polynomials of a lens fold what lies far outside of the image back into it; half a degree is no fold.
_FOLD = 0.01


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """What a camera saw of space in one image.

    Attributes:
        camera: Of the depth image's size.
        depth_m: (h, w) float32 metres along the optical axis, NaN where there is none.
        to_camera: From the frame of the places to the camera's optical frame, at the stamp of the image.
        looked_at_xyxy: The part of the depth image that was looked at, pixels from its top left corner.
    """

    camera: CameraModel
    depth_m: NDArray[np.float32]
    to_camera: Transform
    looked_at_xyxy: XYXY

    def holds(self, position_m: XYZ, size_m: XYZ) -> bool:
        """Tell whether a thing would have been seen at a place, so that not finding it there means that it has gone.

        Args:
            position_m: The middle of it, metres.
            size_m: Its extent, metres; only the larger sides count, in whatever direction.
        """
        there = self.to_camera.moved(position_m)
        away_m, half_m = there[2], max(_SMALLEST_M, *size_m) / 2
        if away_m <= half_m:
            return False
        (x, y), (fold_x, fold_y) = self._pixel(there)
        half_px = half_m / away_m * max(self.camera.k[0], self.camera.k[4])
        left, top, right, bottom = self.looked_at_xyxy
        whole = left <= x - half_px and x + half_px <= right and top <= y - half_px and y + half_px <= bottom
        if not whole or max(fold_x, fold_y) > _FOLD or 2 * half_px < _LEAST_SHARE * max(self.camera.image_wh):
            return False
        return self._is_free(x, y, half_px / 2, away_m - half_m - max(_TOLERANCE_M, _TOLERANCE_SHARE * away_m))

    def _pixel(self, point_m: XYZ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return where a point is, pixels from the corner, and how far the ray through there misses it, at 1 m."""
        with np.errstate(all="ignore"):
            pixels = self.camera.project(np.array([point_m]))
            if not np.isfinite(pixels).all():
                return (np.inf, np.inf), (np.inf, np.inf)
            ray = self.camera.rays_of(pixels)[0]
        # To a calibration a pixel's centre is at a whole number.
        x, y = (pixels[0] + 0.5).tolist()
        return (x, y), (abs(float(ray[0]) - point_m[0] / point_m[2]), abs(float(ray[1]) - point_m[1] / point_m[2]))

    def _is_free(self, x: float, y: float, reach_px: float, nearest_m: float) -> bool:
        """Tell whether depth around a pixel is known, and is not that of something before the place."""
        height, width = self.depth_m.shape
        offsets = np.linspace(-max(2.0, reach_px), max(2.0, reach_px), _SIDE)
        columns = np.clip(x + offsets, 0, width - 1).astype(np.int64)
        rows = np.clip(y + offsets, 0, height - 1).astype(np.int64)
        depths = self.depth_m[rows[:, None], columns[None]]
        valid = depths[np.isfinite(depths) & (depths > 0)]
        return bool(valid.size >= _LEAST_VALID * depths.size and np.mean(valid >= nearest_m) >= _LEAST_FREE)


def looked_at(part_xyxy: tuple[int, int, int, int], image_wh: WH, depth_wh: WH) -> XYXY:
    """Return a part of an image in pixels of its depth image, which may be of another size."""
    x, y = depth_wh[0] / image_wh[0], depth_wh[1] / image_wh[1]
    left, top, right, bottom = part_xyxy
    return left * x, top * y, right * x, bottom * y
