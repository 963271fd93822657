"""Finds the place, size and turn at which an object's look from one frame lies in another.

Inverse compositional Gauss-Newton (Baker and Matthews, "Lucas-Kanade 20 years on", 2004) over a similarity, for all
objects at once, in the colour that tells each from what is around it. Similarities are complex numbers: a point of
the object at offset `o` from its centre, x + iy, is seen at `centre + turn * o`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.world.silhouette import Silhouette

Complexes = NDArray[np.complex128]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

SIDE = 16
N_POINTS = 16
# The patch covers the box and a rim around it: an edge needs both its sides.
_COVERS = 1.25
_RIM_WEIGHT = 0.35
_ELSEWHERE_WEIGHT = 0.02
_GRID = np.linspace(-_COVERS, _COVERS, SIDE)
_U, _V = (each.ravel() for each in np.meshgrid(_GRID, _GRID))
_INSIDE = (np.abs(_U) <= 1.0) & (np.abs(_V) <= 1.0)
_WITHIN = (np.abs(_U) <= 0.9) & (np.abs(_V) <= 0.9)
_WEIGHTS = np.where(_INSIDE, 1.0, _RIM_WEIGHT)
# Holds a turn that cannot be seen, as of a ball, at none.
_DAMPING = np.array([1e-3, 1e-3, 2e-2, 2e-2, 0.5, 0.5])
_MOST_SCALING = 0.08
_LEAST_SPREAD = 3.0
# A difference that makes a pixel unlike what is remembered, in spreads of the look.
_UNLIKE = 0.75
# A thing is not made out by less of it than this.
_LEAST_INSIDE = 0.25
# What is far off is all that tells of a large step, and misleads in a small one.
_UNLIKE_BY_STEP = (3.0, 1.5, 0.75)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What an object looked like.

    Attributes:
        offsets: (SIDE * SIDE,) complex, from its centre, pixels of a kept frame.
        weights: (SIDE * SIDE,) how much each of them counts.
        points: (N_POINTS,) those of them whose flow is followed.
        colour: (3,) weights of red, green and blue that tell it from its surroundings.
        look: (SIDE * SIDE,) its pixels in that colour, of mean 0 and variance 1.
        slopes: (SIDE * SIDE, 6) how the look changes with x, y, scale, turn, contrast and brightness.
        light: Mean, as a real, and spread, as an imaginary number, of the pixels in that colour.
        size: Its shorter half side, pixels of a kept frame.
    """

    offsets: Complexes
    weights: Floats
    points: Complexes
    colour: Floats
    look: Floats
    slopes: Floats
    light: complex
    size: float


def offsets_of(half: complex) -> Complexes:
    """Lay a patch's points over a box of these half sides."""
    points: Complexes = half.real * _U + 1j * half.imag * _V
    return points


def weights_of(silhouette: Silhouette | None) -> Floats:
    """Weigh a patch's points: the thing's own, and those beside them less, since an edge needs both its sides."""
    if silhouette is None:
        return _WEIGHTS
    columns, rows = (_nearest(at, _GRID) for at in (silhouette.at_x, silhouette.at_y))
    own = silhouette.mask[np.ix_(rows, columns)].astype(np.float64)
    beside = cv2.dilate(own, np.ones((5, 5)))
    weights: Floats = np.maximum(own, _RIM_WEIGHT * np.asarray(beside)).ravel() + _ELSEWHERE_WEIGHT
    return weights


def take_patch(rgb: Singles, offsets: Complexes, weights: Floats, centre: complex, turn: complex) -> Patch:
    """Remember what lies at a place.

    Args:
        rgb: (h, w, 3), a kept frame's.
        offsets: As of `offsets_of`.
        weights: As of `weights_of`.
        centre: Of the object in this frame.
        turn: Its scaling and rotation since the offsets were laid.
    """
    pixels, _ = _sample(rgb, centre + turn * offsets)
    colour = _telling_colour(pixels, weights > 0.5)
    values = pixels.astype(np.float64) @ colour
    mean = float((weights * values).sum() / weights.sum())
    spread = max(float(np.sqrt((weights * (values - mean) ** 2).sum() / weights.sum())), _LEAST_SPREAD)
    look = (values - mean) / spread
    # The grid of offsets is regular: its spacing along each axis is the same everywhere.
    step_x = float(offsets[1].real - offsets[0].real)
    step_y = float(offsets[SIDE].imag - offsets[0].imag)
    by_v, by_u = np.gradient(look.reshape(SIDE, SIDE))
    d_x, d_y = by_u.ravel() / step_x, by_v.ravel() / step_y
    size = min(abs(step_x), abs(step_y)) * (SIDE - 1) / (2 * _COVERS)
    x, y = offsets.real, offsets.imag
    # Steps are in units of the object's size, so that the damping means the same for all; light may change.
    slopes = np.stack([d_x * size, d_y * size, d_x * x + d_y * y, d_y * x - d_x * y, look, np.ones_like(look)], axis=1)
    points = offsets[_spread(weights)]
    return Patch(offsets, weights, points, colour, look, slopes, complex(mean, spread), size)


def align(
    rgb: Singles,
    patches: Sequence[Patch],
    starts: Complexes,
    turns: Complexes,
    lights: Complexes,
) -> tuple[Complexes, Complexes, Complexes, Floats]:
    """Find each patch near where it is thought to be.

    Args:
        rgb: (h, w, 3), the frame that is searched.
        patches: n of them.
        starts: (k, n) centres to begin at, k guesses for each; the one that looks most alike is taken.
        turns: (k, n) scalings and rotations that belong to them.
        lights: (n,) the light that they were last seen in, as `Patch.light`.

    Returns:
        (n,) centres, (n,) turns, (n,) lights, and (n,) what share of the pixels in the image is as remembered, 0 to 1.
    """
    offsets = np.stack([each.offsets for each in patches])
    # Pixels are compared in single precision, which is twice as fast and ten times as fine as they are.
    weights = np.stack([each.weights for each in patches]).astype(np.float32)
    colours = np.stack([each.colour for each in patches]).astype(np.float32)[..., None]
    looks = np.stack([each.look for each in patches]).astype(np.float32)
    slopes = np.stack([each.slopes for each in patches]).astype(np.float32)
    size = np.array([each.size for each in patches])
    damping = weights.sum(-1)[:, None, None] * np.diag(_DAMPING)

    def compare(centre: Complexes, turn: Complexes, light: Complexes) -> tuple[Singles, Singles, Singles]:
        """Likeness (..., n), differences and the weights of those that can be seen (..., n, SIDE * SIDE)."""
        pixels, inside = _sample(rgb, centre[..., None] + turn[..., None] * offsets)
        mean, spread = (part.astype(np.float32)[..., None] for part in (light.real, light.imag))
        differences = ((pixels @ colours)[..., 0] - mean) / spread - looks
        likely = 1.0 / (1.0 + (differences / _UNLIKE) ** 2)
        counts = weights * inside
        seen = counts.sum(-1)
        alike = (counts * likely).sum(-1) / np.maximum(seen, 1e-6) * (seen > _LEAST_INSIDE * weights.sum(-1))
        return alike, differences, counts

    alike, differences, counts = compare(starts, turns, lights)
    best, every = alike.argmax(0), np.arange(len(patches))
    centre, turn, light, likeness = starts[best, every], turns[best, every], lights, alike[best, every]
    at, to, under, differences, counts = centre, turn, light, differences[best, every], counts[best, every]
    for unlike in _UNLIKE_BY_STEP:
        counts = counts / (1.0 + (differences / unlike) ** 2) ** 2
        weighted = slopes * counts[..., None]
        towards = weighted.swapaxes(1, 2)
        normal = (towards @ slopes).astype(np.float64) + damping
        step = np.linalg.solve(normal, (towards @ differences[..., None]).astype(np.float64))[..., 0]
        move = (step[:, 0] + 1j * step[:, 1]) * size
        move = move * np.minimum(1.0, size / np.maximum(np.abs(move), 1e-9))
        change = np.clip(step[:, 2], -_MOST_SCALING, _MOST_SCALING) + 1j * np.clip(
            step[:, 3], -_MOST_SCALING, _MOST_SCALING
        )
        # The step moves the remembered patch; what is wanted moves the other way.
        to = to / (1.0 + change)
        at = at - to * move
        contrast = under.imag * np.clip(1.0 + step[:, 4], 0.8, 1.25)
        under = under.real + under.imag * np.clip(step[:, 5], -0.5, 0.5) + 1j * np.maximum(contrast, _LEAST_SPREAD)
        found, differences, counts = compare(at, to, under)
        better = found > likeness
        centre, turn, light = np.where(better, at, centre), np.where(better, to, turn), np.where(better, under, light)
        likeness = np.maximum(found, likeness)
    return centre, turn, light, likeness.astype(np.float64)


def _sample(rgb: Singles, points: Complexes) -> tuple[Singles, Singles]:
    """Read pixels between the pixels: (..., 3), and (...) 1 where the point is in the image, 0 elsewhere."""
    height, width = rgb.shape[:2]
    flat = points.reshape(-1, SIDE * SIDE)
    x, y = flat.real.astype(np.float32) - 0.5, flat.imag.astype(np.float32) - 0.5
    pixels = cv2.remap(rgb, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return np.asarray(pixels, np.float32).reshape(*points.shape, 3), inside.reshape(points.shape).astype(np.float32)


def _spread(weights: Floats) -> NDArray[np.intp]:
    """Choose N_POINTS of the thing's own points, spread evenly over them."""
    own = np.flatnonzero((weights > 0.5) & _WITHIN)
    own = own if own.size else np.flatnonzero(_WITHIN)
    chosen: NDArray[np.intp] = own[np.linspace(0, own.size - 1, N_POINTS).round().astype(int)]
    return chosen


def _nearest(at: Floats, wanted: Floats) -> NDArray[np.intp]:
    nearest: NDArray[np.intp] = np.abs(at - wanted[:, None]).argmin(-1)
    return nearest


def _telling_colour(pixels: Singles, own: NDArray[np.bool_]) -> Floats:
    """Find the direction of colour that tells inside from rim (Fisher's linear discriminant); (3,) of length 1."""
    inside, rim = pixels[own], pixels[~own]
    apart = inside.mean(0) - rim.mean(0)
    within = np.cov(inside.T) + np.cov(rim.T) + 60.0 * np.eye(3)
    colour: Floats = np.linalg.solve(within, apart)
    length = float(np.linalg.norm(colour))
    # What is alike in colour is told by its brightness.
    return colour / length if length > 1e-3 else np.array([0.299, 0.587, 0.114])
