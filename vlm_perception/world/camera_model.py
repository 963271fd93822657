"""Pixels of a calibrated camera <-> rays, with the lens distortion of its CameraInfo honoured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.errors import VlmPerceptionError
from vlm_perception.types import WH

_FISHEYE = ("equidistant", "fisheye")
_COEFFICIENTS = {
    "": (0,),
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (0, 8, 12, 14),
    **dict.fromkeys(_FISHEYE, (0, 4)),
}
_ASPECT_TOLERANCE = 0.01


class CameraModelError(VlmPerceptionError):
    """A calibration that cannot be used; the message has the value and the remedy."""


@dataclass(frozen=True, slots=True)
class CameraModel:
    """A pinhole camera with a lens, as `sensor_msgs/CameraInfo` describes it.

    Attributes:
        image_wh: Size the calibration is for, pixels.
        k: Row by row, 9 numbers: fx 0 cx 0 fy cy 0 0 1, pixels.
        distortion_model: `plumb_bob`, `rational_polynomial`, `equidistant` (`fisheye`), or empty for none.
        d: Its coefficients in the order of CameraInfo.
    """

    image_wh: WH
    k: tuple[float, ...]
    distortion_model: str = ""
    d: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no ray can be made of.

        Raises:
            CameraModelError: No size, no focal length, or a distortion that is not known.
        """
        numbers_ok = len(self.k) == 9 and bool(np.isfinite([*self.k, *self.d]).all())
        if min(self.image_wh) <= 0 or not numbers_ok or self.k[0] <= 0 or self.k[4] <= 0:
            raise CameraModelError(
                f"the camera is uncalibrated (size {self.image_wh}, K {list(self.k)}, D {list(self.d)}): its "
                f"CameraInfo needs a size and focal lengths over 0; calibrate it (camera_calibration) or let the "
                f"driver load its file"
            )
        if len(self.d) not in _COEFFICIENTS.get(self.distortion_model, ()) and any(self.d):
            raise CameraModelError(
                f"distortion {self.distortion_model!r} with {len(self.d)} coefficients is not known: use one of "
                f"{', '.join(name for name in _COEFFICIENTS if name)}, or rectify the images (image_proc)"
            )

    def scaled_to(self, image_wh: WH) -> CameraModel:
        """Return the model for another size of the same view.

        Raises:
            CameraModelError: The aspect is another one, so it is not the same view.
        """
        (width, height), (own_w, own_h) = image_wh, self.image_wh
        if image_wh == self.image_wh:
            return self
        if min(image_wh) <= 0 or abs(width * own_h / (height * own_w) - 1.0) > _ASPECT_TOLERANCE:
            raise CameraModelError(
                f"{width}x{height} is not the view of a calibration for {own_w}x{own_h}: send the CameraInfo of these "
                f"images"
            )
        sx, sy = width / own_w, height / own_h
        fx, skew, cx, _, fy, cy = self.k[:6]
        # A pixel's centre is at a whole number, so its edge is at half of one.
        k = (fx * sx, skew * sx, (cx + 0.5) * sx - 0.5, 0.0, fy * sy, (cy + 0.5) * sy - 0.5, 0.0, 0.0, 1.0)
        return CameraModel(image_wh, k, self.distortion_model, self.d)

    def window(self, roi_xywh: tuple[int, int, int, int], binning_xy: WH = (1, 1)) -> CameraModel:
        """Return the model of the images of a camera that sends a part of its view, or joins pixels.

        Args:
            roi_xywh: Left, top, width and height of the part, in pixels of this model; zeros for all of it.
            binning_xy: Pixels that are one in the image, across and down; 0 counts as 1.

        Raises:
            CameraModelError: The part lies outside.
        """
        x, y, width, height = roi_xywh if any(roi_xywh) else (0, 0, *self.image_wh)
        bin_x, bin_y = max(1, binning_xy[0]), max(1, binning_xy[1])
        if (
            min(x, y) < 0
            or x + width > self.image_wh[0]
            or y + height > self.image_wh[1]
            or bin_x > width
            or bin_y > height
        ):
            raise CameraModelError(
                f"the region of interest {roi_xywh} (x, y, width, height) with binning {binning_xy} is not within "
                f"{self.image_wh[0]}x{self.image_wh[1]}: correct roi and binning of the CameraInfo, or set them to 0"
            )
        fx, skew, cx, _, fy, cy = self.k[:6]
        # A pixel's centre is at a whole number, so its edge is at half of one.
        left, top = (cx - x + 0.5) / bin_x - 0.5, (cy - y + 0.5) / bin_y - 0.5
        k = (fx / bin_x, skew / bin_x, left, 0.0, fy / bin_y, top, 0.0, 0.0, 1.0)
        return CameraModel((width // bin_x, height // bin_y), k, self.distortion_model, self.d)

    def rays_of(self, points_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn (n, 2) pixels into (n, 3) rays with z = 1 in the optical frame (REP 103: x right, y down)."""
        points = np.asarray(points_xy, np.float64).reshape(-1, 1, 2)
        k = np.asarray(self.k, np.float64).reshape(3, 3)
        if not len(points):
            return np.empty((0, 3))
        if not any(self.d):
            flat = (points[:, 0] - k[:2, 2]) / (k[0, 0], k[1, 1])
        elif self.distortion_model in _FISHEYE:
            flat = cv2.fisheye.undistortPoints(points, k, np.asarray(self.d, np.float64)).reshape(-1, 2)
        else:
            flat = cv2.undistortPoints(points, k, np.asarray(self.d, np.float64)).reshape(-1, 2)
        return np.column_stack([flat, np.ones(len(flat))])

    def project(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn (n, 3) points of the optical frame, metres, z > 0, into (n, 2) pixels."""
        points = np.asarray(points_m, np.float64).reshape(-1, 1, 3)
        if not len(points):
            return np.empty((0, 2))
        k, d = np.asarray(self.k, np.float64).reshape(3, 3), np.asarray(self.d or (0.0,) * 4, np.float64)
        still = np.zeros(3)
        if self.distortion_model in _FISHEYE and any(self.d):
            pixels, _ = cv2.fisheye.projectPoints(points, still, still, k, d)
        else:
            pixels, _ = cv2.projectPoints(points, still, still, k, d if any(self.d) else np.zeros(4))
        return np.asarray(pixels, np.float64).reshape(-1, 2)


def camera_of(info: Any, rectified: bool = False) -> CameraModel:
    """Make the model of a camera's images of what its CameraInfo says of the whole sensor.

    Args:
        info: A sensor_msgs/CameraInfo, of ROS or of a bag: `K` and `D` are of the raw image, `P` is of the rectified
            one; binning and region of interest come after.
        rectified: Whether the images are; then the lens is gone already.

    Raises:
        CameraModelError: It is not calibrated.
    """
    numbers = list(map(float, info.p if rectified else info.k))
    k = tuple(numbers if not rectified else numbers[:3] + numbers[4:7] + numbers[8:11])
    lens = ("", ()) if rectified else (info.distortion_model, tuple(map(float, info.d)))
    whole = CameraModel((info.width, info.height), k, *lens)
    roi = info.roi
    return whole.window((roi.x_offset, roi.y_offset, roi.width, roi.height), (info.binning_x, info.binning_y))
