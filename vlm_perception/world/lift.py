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
from vlm_perception.world.transforms import XYZ, XYZW, Transform, TransformError

_SIDE = 24  # samples across a box: more cost time and gain nothing measurable
_POINT_RADIUS = 0.006  # of the image's width: a point is a spot, not one pixel
_MIN_SHARE = 0.05
_NEAREST_M = 0.05
_BIN = 0.025  # of the depth: one step of the search for layers, over a good camera's noise
_BINS = 320  # up to 140 m
_BIN_SHARE = 0.03  # of the weight: mixed pixels at edges are spread more thinly over the bins between layers
_LAYER_SHARE = 0.12  # of the weight: less in front is the corner of something else
_LINE_SHARE = 0.08  # of the fullest row or column of samples: one with less is not of the thing
_EDGE_LINES = 3  # whose depth tells how far away an edge is
_TRIM = 0.1  # of the depths, at either end: mixed pixels lie there
_TRIMMED_NOISE = 2.56  # standard deviations of noise within the rest
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


Spots = tuple[Spot | NoSpot, ...]


def moved_spots(spots: Sequence[Spot | NoSpot], transform: Transform) -> Spots:
    """Bring places into another frame; see `Spot.seen_from`."""
    return tuple(spot.seen_from(transform) if isinstance(spot, Spot) else spot for spot in spots)


def lost_spots(spots: Sequence[Spot | NoSpot], error: TransformError) -> Spots:
    """Say of all that had a place why it is not known in the frame that is wanted."""
    none = NoSpot("no_transform", str(error))
    return tuple(none if isinstance(spot, Spot) else spot for spot in spots)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the objects of an answer are, one place or reason for each.

    Attributes:
        frame_id: The frame they are in.
        spots: In the order of the objects.
        is_optical: Whether that is the camera's own frame, whose y points down; of others z is taken to point up.
    """

    frame_id: str
    spots: Spots
    is_optical: bool = True


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


def lift(objects: Sequence[DetectedObject], image_wh: WH, depth_m: NDArray[np.float32], camera: CameraModel) -> Spots:
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
    scale = np.array((depth_wh[0] / image_wh[0], depth_wh[1] / image_wh[1]) * 2)
    windows = [_window(item, scale, model) for item in objects]
    inside = [place for place, window in enumerate(windows) if not isinstance(window, NoSpot)]
    edges = np.array([windows[place] for place in inside], np.float64).reshape(-1, 4)
    is_point = np.array([objects[place].xyxy is None for place in inside], bool)
    lifted = iter(_lift(edges, is_point, depth_m, model))
    return tuple(window if isinstance(window, NoSpot) else next(lifted) for window in windows)


def _window(item: DetectedObject, scale: NDArray[np.float64], model: CameraModel) -> NDArray[np.float64] | NoSpot:
    """Return the part of an object's box that is inside, xyxy in pixels of the depth image."""
    width, height = model.image_wh
    if item.xyxy is not None:
        edges = np.asarray(item.xyxy, np.float64) * scale
    elif item.point_xy is not None:
        radius = max(2.0, _POINT_RADIUS * width)
        edges = np.tile(np.asarray(item.point_xy, np.float64), 2) * scale + (-radius, -radius, radius, radius)
    else:
        return NoSpot("outside", "it has neither a box nor a point")
    if not np.isfinite(edges).all():
        return NoSpot("outside", f"its box {item.xyxy or item.point_xy} is not finite")
    clipped = np.clip(edges, 0.0, (width, height, width, height))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        return NoSpot("outside", f"its box lies outside of the depth image of {width}x{height}")
    return clipped


def _lift(
    edges: NDArray[np.float64], is_point: NDArray[np.bool_], depth_m: NDArray[np.float32], model: CameraModel
) -> list[Spot | NoSpot]:
    """Lift (n, 4) boxes in pixels of the depth image, all at once."""
    if not len(edges):
        return []
    share = (np.arange(_SIDE) + 0.5) / _SIDE
    # (n, side) pixel edges' coordinates: pixel p reaches from p to p + 1.
    xs = edges[:, :1] + share * (edges[:, 2:3] - edges[:, :1])
    ys = edges[:, 1:2] + share * (edges[:, 3:4] - edges[:, 1:2])
    depths = depth_m[ys.astype(np.int64)[:, :, None], xs.astype(np.int64)[:, None, :]].astype(np.float64)
    valid = np.isfinite(depths) & (depths > 0)
    shares = valid.mean((1, 2))
    layer, behind = _front_layers(depths, valid)
    low_m, middle_m, high_m, spread_m2 = _depth_ranges(depths, layer)
    columns, rows = _extents(depths, layer, behind, 1), _extents(depths, layer, behind, 2)
    rays = _edge_rays(edges, columns.ends, rows.ends, model)
    noise_m = _NOISE_SHARE * middle_m
    found: list[Spot | NoSpot] = []
    # A calibration may be anything; each outcome is looked at whether it is finite.
    with np.errstate(all="ignore"):
        x_m, y_m = rays[:, :2, 0] * columns.depths_m, rays[:, 2:4, 1] * rows.depths_m
        range_m = np.sqrt(np.maximum(0.0, np.square(high_m - low_m) - np.square(_TRIMMED_NOISE * noise_m)))
        centres = np.column_stack([x_m.mean(1), y_m.mean(1), (low_m + high_m) / 2])
        sizes = np.column_stack([np.ptp(x_m, axis=1), np.ptp(y_m, axis=1), range_m / (1 - 2 * _TRIM)])
        centres[is_point] = rays[is_point, 4] * middle_m[is_point, None]
        sizes[is_point] = 0.0
        covariances = _covariances(centres, np.square(noise_m) + spread_m2 / 16, model)
        whole = np.isfinite(np.column_stack([centres, sizes, covariances.reshape(-1, 9)])).all(1)
    for place, (centre, size) in enumerate(zip(centres.tolist(), sizes.tolist(), strict=True)):
        if shares[place] < _MIN_SHARE:
            found.append(NoSpot("no_valid_depth", f"{shares[place]:.0%} valid pixels of depth inside its box"))
        elif not whole[place]:
            found.append(
                NoSpot(
                    "bad_camera_info",
                    f"rays of pixels around {edges[place]} are not finite (K {list(model.k)}, D {list(model.d)}): "
                    f"calibrate the camera again",
                )
            )
        else:
            covariance = tuple(covariances[place].ravel().tolist())
            x, y, z = centre
            found.append(
                Spot((x, y, z), (size[0], size[1], size[2]), covariance, float(shares[place]), math.hypot(x, y, z))
            )
    return found


def _front_layers(depths: NDArray[np.float64], valid: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find each box's nearest layer that is dense and holds enough of the weight.

    Args:
        depths: (n, side, side) metres.
        valid: Of them.

    Returns:
        (n, side, side) samples that lie in it, and those that lie in another dense layer.
    """
    # What a box is about stands in its middle; what hides a corner of it does not.
    tent = 1.0 - np.abs(2.0 * (np.arange(_SIDE) + 0.5) / _SIDE - 1.0)
    boxes, rows, columns = np.nonzero(valid)
    steps = np.log(depths[valid] / _NEAREST_M) / _BIN
    bins = np.clip(steps, 0, _BINS - 1).astype(np.int64)
    weights = tent[rows] * tent[columns]
    held = np.bincount(boxes * _BINS + bins, weights, len(depths) * _BINS).astype(np.float64)
    held = held.reshape(-1, _BINS)
    held /= np.maximum(1e-12, held.sum(1, keepdims=True))
    dense = held >= np.minimum(_BIN_SHARE, np.maximum(1e-12, held.max(1, keepdims=True)))
    chosen = np.array([_chosen(np.flatnonzero(dense[place]).tolist(), held[place]) for place in range(len(depths))])
    first, last = chosen[:, 0], chosen[:, 1]
    # The tails of the noise lie in the bins beside it.
    near = np.where(first <= 1, 0.0, _NEAREST_M * np.exp((first - 1) * _BIN))
    far = np.where(last >= _BINS - 2, np.inf, _NEAREST_M * np.exp((last + 2) * _BIN))
    layer = valid & (depths >= near[:, None, None]) & (depths <= far[:, None, None])
    solid = np.zeros_like(valid)
    solid[valid] = dense[boxes, bins]
    return layer, solid & ~layer


def _chosen(dense: list[int], held: NDArray[np.float64]) -> tuple[int, int]:
    """Return first and last bin of the nearest run of dense ones that holds enough, else of the one that holds most."""
    runs: list[list[int]] = []
    for each in dense:
        # One thin bin does not end a layer.
        if runs and each - runs[-1][1] <= 2:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    weights = [float(held[first : last + 1].sum()) for first, last in runs]
    for (first, last), weight in zip(runs, weights, strict=True):
        if weight >= _LAYER_SHARE:
            return first, last
    first, last = runs[weights.index(max(weights))] if runs else [0, 0]
    return first, last


def _depth_ranges(
    depths: NDArray[np.float64], layer: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return low, middle and high depth of each layer, (n,) metres, and the variance, m²."""
    counts = np.maximum(1, layer.sum((1, 2)))
    ordered = np.sort(np.where(layer, depths, np.inf).reshape(len(depths), -1), axis=1)
    places, trim = np.arange(len(depths)), (_TRIM * counts).astype(np.int64)
    low, high = ordered[places, trim], ordered[places, counts - 1 - trim]
    middle = ordered[places, counts // 2]
    known = np.where(layer, depths, 0.0).reshape(len(depths), -1)
    with np.errstate(all="ignore"):
        off = np.where(layer.reshape(len(depths), -1), known - middle[:, None], 0.0)
        return low, middle, high, np.square(off).sum(1) / counts


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where the thing begins and ends, (n, 2) in lines of samples from the box's edge, and metres away there."""

    ends: NDArray[np.float64]
    depths_m: NDArray[np.float64]


def _extents(depths: NDArray[np.float64], layer: NDArray[np.bool_], behind: NDArray[np.bool_], along: int) -> _Extent:
    """Look along rows (1) for its columns, along columns (2) for its rows."""
    counts = layer.sum(along)
    taken = counts >= np.maximum(1, _LINE_SHARE * counts.max(1, keepdims=True))
    first, last = taken.argmax(1), _SIDE - 1 - taken[:, ::-1].argmax(1)
    sums = np.where(layer, depths, 0.0).sum(along)
    lines = np.arange(_SIDE)
    edges_m = []
    for low, high in ((first, first + _EDGE_LINES), (last - _EDGE_LINES + 1, last + 1)):
        near = taken & (lines >= low[:, None]) & (lines < high[:, None])
        edges_m.append((sums * near).sum(1) / np.maximum(1, (counts * near).sum(1)))
    # A line beside it that is neither it nor what lies behind is mixed of both: the edge runs through that one.
    places, solid = np.arange(len(depths)), np.pad(behind.sum(along), ((0, 0), (1, 1)), constant_values=_SIDE)
    begins = first - 0.5 * (solid[places, first] < counts[places, first] / 2)
    ends = last + 1 + 0.5 * (solid[places, last + 2] < counts[places, last] / 2)
    return _Extent(np.column_stack([begins, ends]), np.column_stack(edges_m))


def _edge_rays(
    edges: NDArray[np.float64], columns: NDArray[np.float64], rows: NDArray[np.float64], model: CameraModel
) -> NDArray[np.float64]:
    """Return (n, 5, 3) rays: at the left, right, upper and lower end of each thing, and in the middle of its box."""
    steps = (edges[:, 2:] - edges[:, :2]) / _SIDE
    across = edges[:, :1] + columns * steps[:, :1]
    down = edges[:, 1:2] + rows * steps[:, 1:]
    x, y = across.mean(1), down.mean(1)
    middle = (edges[:, :2] + edges[:, 2:]) / 2
    points = np.stack(
        [
            np.column_stack([across[:, 0], y]),
            np.column_stack([across[:, 1], y]),
            np.column_stack([x, down[:, 0]]),
            np.column_stack([x, down[:, 1]]),
            middle,
        ],
        axis=1,
    )
    # To a calibration a pixel's centre is at a whole number.
    return model.rays_of(points.reshape(-1, 2) - 0.5).reshape(-1, 5, 3)


def _covariances(
    centres: NDArray[np.float64], along_m2: NDArray[np.float64], model: CameraModel
) -> NDArray[np.float64]:
    """Depth is wrong along the ray (by its noise and by what the thing's own depth spreads), a box by pixels across."""
    across_m2 = np.square(2.0 * centres[:, 2] / model.k[0])
    rays = centres / np.maximum(1e-9, np.linalg.norm(centres, axis=1, keepdims=True))
    outer = rays[:, :, None] * rays[:, None, :]
    turned: NDArray[np.float64] = across_m2[:, None, None] * np.eye(3) + (along_m2 - across_m2)[:, None, None] * outer
    return turned
