"""How points and the whole picture move from one kept frame to the next.

Lucas-Kanade in pyramids; similarities as complex numbers: a point at `p`, x + iy, moves to
`turn * p + shift`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.world.alignment import Complexes, Floats

_WINDOW = (11, 11)
_LEVELS = 3
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
# Grey levels between what was around a point and what is now. The way back tells the same for as much time again.
_MOST_WRONG = 12.0
_ROUNDS = 4
_SPREAD_PX = 0.3


def grid(shape: tuple[int, ...], wh: tuple[int, int]) -> Complexes:
    """Spread so many points across and down a picture of this (height, width)."""
    x = (np.arange(wh[0]) + 0.5) * shape[1] / wh[0]
    y = (np.arange(wh[1]) + 0.5) * shape[0] / wh[1]
    points: Complexes = (x + 1j * y[:, None]).ravel()
    return points


def follow(
    before: NDArray[np.uint8], after: NDArray[np.uint8], points: Complexes
) -> tuple[Complexes, NDArray[np.bool_]]:
    """Find where points of one grey image are in the next.

    Returns:
        Their new places, and which were followed.
    """
    if not points.size:
        return points, np.zeros(points.shape, bool)
    flat = points.ravel()
    start = np.stack([flat.real - 0.5, flat.imag - 0.5], -1).astype(np.float32)[:, None]
    there, found, wrong = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        before, after, start, None, winSize=_WINDOW, maxLevel=_LEVELS, criteria=_STOP, minEigThreshold=1e-3
    )
    height, width = before.shape
    x, y = there[:, 0, 0].astype(np.float64) + 0.5, there[:, 0, 1].astype(np.float64) + 0.5
    good = (found[:, 0] > 0) & (wrong[:, 0] < _MOST_WRONG)
    good &= (flat.real >= 0) & (flat.imag >= 0) & (flat.real < width) & (flat.imag < height)
    good &= (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return (x + 1j * y).reshape(points.shape), good.reshape(points.shape)


def fit(
    before: Complexes, after: Complexes, weights: Floats, *, most_turn: float
) -> tuple[Complexes, Complexes, Floats]:
    """Fit a similarity to each row of points, whatever a part of them does (reweighted least squares).

    Args:
        before: (n, p) places.
        after: (n, p) the same points' later places.
        weights: (n, p), 0 for those that say nothing.
        most_turn: How far scaling and rotation may be from none.

    Returns:
        (n,) turn, (n,) shift, and (n, p) weights that were left: how well each point goes with the others.
    """
    moved = after - before
    shift = _median(moved.real, weights) + 1j * _median(moved.imag, weights)
    turn = np.ones(len(before), complex)
    kept = weights
    spread = 4.0 * _SPREAD_PX
    for _ in range(_ROUNDS):
        away = np.abs(after - turn[:, None] * before - shift[:, None])
        kept = weights / (1.0 + (away / spread) ** 2) ** 2
        total = np.maximum(kept.sum(-1), 1e-9)
        mean, mean_after = (kept * before).sum(-1) / total, (kept * after).sum(-1) / total
        arms, arms_after = before - mean[:, None], after - mean_after[:, None]
        long = (kept * np.abs(arms) ** 2).sum(-1)
        # Few points, or such that lie together, tell no turn.
        turn = ((kept * arms_after * arms.conj()).sum(-1) + 4.0) / (long + 4.0)
        change = turn - 1.0
        turn = 1.0 + change * np.minimum(1.0, most_turn / np.maximum(np.abs(change), 1e-9))
        shift = mean_after - turn * mean
        spread = max(spread / 2, _SPREAD_PX)
    away = np.abs(after - turn[:, None] * before - shift[:, None])
    return turn, shift, weights / (1.0 + (away / _SPREAD_PX) ** 2)


def _median(values: Floats, weights: Floats) -> Floats:
    """Take each row's weighted median; 0 for a row without weight."""
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(weights, order, -1).cumsum(-1)
    at = (ordered < ordered[:, -1:] / 2).sum(-1).clip(max=values.shape[1] - 1)
    middle: Floats = np.take_along_axis(np.take_along_axis(values, order, -1), at[:, None], -1)[:, 0]
    return np.where(ordered[:, -1] > 0, middle, 0.0)
