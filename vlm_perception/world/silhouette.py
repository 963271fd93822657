"""Finds which pixels of a box are the thing's own: they move with it, and their outline gives the box when it turns."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Pixels of the picture that is cut out, and how many times the box it covers.
_SIDE = 40
_COVERS = 1.5
_CORE = 0.5
_ROUNDS = 2
# Of the box, what the pixels found must span and cover to be believed.
_LEAST_SPAN = 0.7
_LEAST_AREA = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Silhouette:
    """The part of a box that is the thing.

    Attributes:
        mask: (n, n) bool, which pixels of a picture of the box and what is around it.
        at_x: (n,) where its columns are, in half sides of the box: -1 to 1 within it.
        at_y: (n,) where its rows are.
        outline: (m,) complex corners of the thing's convex hull, in half sides of the box.
    """

    mask: NDArray[np.bool_]
    at_x: NDArray[np.float64]
    at_y: NDArray[np.float64]
    outline: NDArray[np.complex128]


def find_silhouette(rgb: NDArray[np.uint8], centre: complex, half: complex) -> Silhouette | None:
    """Tell a thing from what is around its box (GrabCut: Rother, Kolmogorov and Blake, 2004); about 2 ms.

    Args:
        rgb: (h, w, 3).
        centre: Of the box, x + iy.
        half: Half of its width and height.

    Returns:
        None where the thing cannot be told from its surroundings, so that its box is all that is known.
    """
    height, width = rgb.shape[:2]
    x, y = _span(centre.real, half.real, width), _span(centre.imag, half.imag, height)
    across, down = _SIDE / (x[1] - x[0]), _SIDE / (y[1] - y[0])
    to_crop = np.array([[across, 0.0, across * (0.5 - x[0]) - 0.5], [0.0, down, down * (0.5 - y[0]) - 0.5]])
    crop = cv2.warpAffine(rgb, to_crop, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    steps = (np.arange(_SIDE) + 0.5) / _SIDE
    at_x = (x[0] + steps * (x[1] - x[0]) - centre.real) / half.real
    at_y = (y[0] + steps * (y[1] - y[0]) - centre.imag) / half.imag
    inside, core = ((np.abs(at_y)[:, None] <= side) & (np.abs(at_x) <= side) for side in (1.0, _CORE))
    if not core.any():
        return None
    labels = np.where(core, cv2.GC_FGD, np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD)).astype(np.uint8)
    if inside.all():
        return None
    # Without a seed of its own the outcome would hang on what was cut before.
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.asarray(crop, np.uint8), labels, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    mask = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    rows, columns = np.nonzero(mask)
    x_there, y_there = at_x[columns], at_y[rows]
    if min(np.ptp(x_there), np.ptp(y_there)) < 2 * _LEAST_SPAN or mask.sum() < _LEAST_AREA * inside.sum():
        return None
    # The box is the model's: the outline is stretched to it.
    points = np.stack([_stretched(x_there), _stretched(y_there)], -1).astype(np.float32)
    hull = cv2.convexHull(points)[:, 0].astype(np.float64)
    return Silhouette(mask, at_x, at_y, hull[:, 0] + 1j * hull[:, 1])


def _span(centre: float, half: float, side: int) -> tuple[float, float]:
    """Cover the box and what is around it, as far as the image goes."""
    low, high = max(0.0, centre - _COVERS * half), min(float(side), centre + _COVERS * half)
    return (low, high) if high - low > 1.0 else (0.0, float(side))


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    stretched: NDArray[np.float64] = (2 * values - low - high) / (high - low)
    return stretched
