"""Where objects of an image stand in space, by the depth inside their boxes.

A depth camera sees the front of a thing alone. So a position is the centre of the extent that is *seen* (x, y, and the
depth range of the front), and a size is that extent: the side that is turned away is not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlm_perception.types import WH, DetectedObject
from vlm_perception.world.camera_model import CameraModel, CameraModelError
from vlm_perception.world.transforms import XYZ, XYZW, Transform

_SIDE = 24  # samples across a large box: more cost time and gain nothing measurable
_POINT_RADIUS = 0.006  # of the image's width: a point is a spot, not one pixel
_MIN_SHARE, _MIN_SAMPLES = 0.05, 4
_BIN = 0.025  # of the depth: one step of the search for layers, over a good camera's noise
_BIN_SHARE = 0.03  # of the weight: mixed pixels at edges are spread more thinly over the bins between layers
_LAYER_SHARE = 0.12  # of the weight: less in front is the corner of something else
_TRIM = 0.02  # of the samples, at either end of an extent
_NOISE_SHARE = 0.01  # of the depth: stereo and structured light at two metres
_ASPECT_TOLERANCE = 0.01
_REMEDY = "use the driver's depth that is aligned to colour (align_depth), or depth_image_proc's register node"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one object is.

    Attributes:
        position_m: Centre of the seen extent.
        size_m: Seen extent along x, y, z of the camera, whatever frame the position is in; zeros for a point.
        covariance_m2: (3, 3) of the position, row by row: noise of depth along the ray, of the box across it.
        valid_share: Share of the samples inside the box that have a depth.
        distance_m: From the camera, whatever frame the position is in.
        quaternion_xyzw: How the camera's axes, and so the box, are turned in the frame the position is in.
    """

    position_m: XYZ
    size_m: XYZ
    covariance_m2: tuple[float, ...]
    valid_share: float
    distance_m: float
    quaternion_xyzw: XYZW = (0.0, 0.0, 0.0, 1.0)

    def seen_from(self, transform: Transform) -> Spot:
        """Return the same place in another frame.

        Args:
            transform: From the frame that the position is in to that one.
        """
        turn = transform.rotation()
        covariance = turn @ np.reshape(self.covariance_m2, (3, 3)) @ turn.T
        turned = transform.after(Transform(self.position_m, self.quaternion_xyzw))
        return replace(
            self,
            position_m=turned.translation_m,
            quaternion_xyzw=turned.quaternion_xyzw,
            covariance_m2=tuple(float(value) for value in covariance.ravel()),
        )


@dataclass(frozen=True, slots=True)
class NoSpot:
    """Why an object has no place in space: a cause for counting, and a text for people."""

    cause: str
    text: str


def check_aligned(image_wh: WH, image_frame: str, depth_wh: WH, depth_frame: str) -> NoSpot | None:
    """Tell why depth does not belong to the pixels of a colour image; None where it does."""
    aspect = (depth_wh[0] * image_wh[1]) / max(1, depth_wh[1] * image_wh[0])
    if image_frame != depth_frame:
        return NoSpot(
            "not_aligned",
            f"depth is in frame {depth_frame!r}, the image in {image_frame!r}, and must be in it: {_REMEDY}",
        )
    if abs(aspect - 1.0) > _ASPECT_TOLERANCE:
        return NoSpot(
            "not_aligned",
            f"depth of {depth_wh[0]}x{depth_wh[1]} has another aspect than the image of {image_wh[0]}x{image_wh[1]}: "
            f"{_REMEDY}",
        )
    return None


def lift(
    objects: Sequence[DetectedObject], image_wh: WH, depth_m: NDArray[np.float32], camera: CameraModel
) -> tuple[Spot | NoSpot, ...]:
    """Place objects in the camera's optical frame (REP 103: x right, y down, z forward).

    Args:
        objects: Boxes and points in pixels of the image; a box counts before a point.
        image_wh: That image's size.
        depth_m: (h, w) float32 metres, NaN where there is none; of the same view, see `check_aligned`, in any size.
        camera: The image's calibration.

    Returns:
        For each object its place, or why it has none.
    """
    depth_wh = (int(depth_m.shape[1]), int(depth_m.shape[0]))
    try:
        model = camera.scaled_to(depth_wh)
    except CameraModelError as error:
        return (NoSpot("bad_camera_info", str(error)),) * len(objects)
    scale = (depth_wh[0] / image_wh[0], depth_wh[1] / image_wh[1])
    return tuple(_lift_one(item, depth_m, model, scale) for item in objects)


def _lift_one(
    item: DetectedObject, depth_m: NDArray[np.float32], model: CameraModel, scale: tuple[float, float]
) -> Spot | NoSpot:
    is_point = item.xyxy is None
    if item.xyxy is not None:
        left, top, right, bottom = item.xyxy
    elif item.point_xy is not None:
        radius = max(2.0, _POINT_RADIUS * model.image_wh[0]) / scale[0]
        (x, y) = item.point_xy
        left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
    else:
        return NoSpot("outside", "it has neither a box nor a point")
    edges = np.array([left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]])
    width, height = model.image_wh
    if not np.isfinite(edges).all():
        return NoSpot("outside", f"its box {item.xyxy or item.point_xy} is not finite")
    x0, y0 = max(0, math.floor(edges[0])), max(0, math.floor(edges[1]))
    x1, y1 = min(width, math.ceil(edges[2])), min(height, math.ceil(edges[3]))
    if x1 <= x0 or y1 <= y0:
        return NoSpot("outside", f"its box lies outside of the depth image of {width}x{height}")
    step_x, step_y = -(-(x1 - x0) // _SIDE), -(-(y1 - y0) // _SIDE)
    x0, y0 = x0 + (step_x - 1) // 2, y0 + (step_y - 1) // 2
    cut = depth_m[y0:y1:step_y, x0:x1:step_x].astype(np.float64)
    valid = np.isfinite(cut) & (cut > 0)
    count = int(np.count_nonzero(valid))
    share = count / cut.size
    if share < _MIN_SHARE or count < min(_MIN_SAMPLES, cut.size):
        return NoSpot("no_valid_depth", f"{share:.0%} valid pixels of depth inside its box")
    near, far = _front_layer(cut[valid], np.outer(_tent(cut.shape[0]), _tent(cut.shape[1]))[valid])
    valid &= (np.nan_to_num(cut) >= near) & (np.nan_to_num(cut) <= far)
    rows, columns = np.nonzero(valid)
    depths = cut[valid]
    pixels = np.column_stack([x0 + columns * step_x, y0 + rows * step_y]).astype(np.float64)
    points_m = model.rays_of(pixels) * depths[:, None]
    ordered = np.sort(points_m, axis=0)
    trim = int(_TRIM * len(ordered))
    low, high, middle = ordered[trim], ordered[-1 - trim], ordered[len(ordered) // 2]
    z = float(middle[2])
    if is_point:
        centre, size = middle, np.zeros(3)
    else:
        centre = (low + high) / 2
        # Samples stand for the pixels around them, and the trimmed ends belong to the thing.
        size = (high - low) / (1 - 2 * trim / len(ordered)) + (step_x * z / model.k[0], step_y * z / model.k[4], 0.0)
        size[2] = math.sqrt(max(0.0, float(high[2] - low[2]) ** 2 - (4 * _NOISE_SHARE * z) ** 2))
    covariance = _covariance(centre, points_m, model)
    if not np.isfinite([*centre, *size, *covariance]).all():
        return NoSpot(
            "bad_camera_info",
            f"rays of pixels around {pixels[0]} are not finite (K {list(model.k)}, D {list(model.d)}): calibrate the "
            f"camera again",
        )
    return Spot(
        (float(centre[0]), float(centre[1]), float(centre[2])),
        (float(size[0]), float(size[1]), float(size[2])),
        covariance,
        share,
        math.hypot(*centre),
    )


def _tent(count: int) -> NDArray[np.float64]:
    """Weigh the middle of a box more: what it is about stands there, what hides a corner of it does not."""
    return 1.0 - np.abs(2.0 * (np.arange(count) + 0.5) / count - 1.0)


def _front_layer(depths: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Find the depth range of the nearest layer that is dense and holds enough of the weight."""
    first = float(depths.min())
    bins = np.minimum(np.log(depths / first) / _BIN, 1e4).astype(np.int64)
    held = np.bincount(bins, weights) / float(weights.sum())
    dense = np.flatnonzero(held >= min(_BIN_SHARE, float(held.max())))
    # One thin bin does not end a layer.
    runs = np.split(dense, np.flatnonzero(np.diff(dense) > 2) + 1)
    chosen = next((run for run in runs if held[run].sum() >= _LAYER_SHARE), None)
    if chosen is None:
        chosen = max(runs, key=lambda run: float(held[run].sum()))
    # The tails of the noise lie in the bins beside it.
    return first * math.exp((chosen[0] - 1) * _BIN), first * math.exp((chosen[-1] + 2) * _BIN)


def _covariance(centre: NDArray[np.float64], points_m: NDArray[np.float64], model: CameraModel) -> tuple[float, ...]:
    """Depth is wrong along the ray (by its noise and by what the thing's own depth spreads), a box by pixels across."""
    z = centre[2]
    along = (_NOISE_SHARE * z) ** 2 + float(np.var(points_m[:, 2])) / min(len(points_m), 16)
    # A calibration may be anything; who asks looks whether the outcome is finite.
    with np.errstate(all="ignore"):
        across = np.square(2.0 * z / model.k[0])
        ray = centre / max(1e-9, float(np.linalg.norm(centre)))
        turned = across * np.eye(3) + (along - across) * np.outer(ray, ray)
    return tuple(float(value) for value in turned.ravel())
