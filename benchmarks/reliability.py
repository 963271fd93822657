"""A reliability diagram per score formula: share of right boxes over the score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")

BINS = 10
_COLUMNS = 5


def plot(
    curves: Mapping[str, Mapping[str, NDArray[np.float64]]], right: NDArray[np.bool_], default: str, path: Path
) -> None:
    """Draw one panel a formula and write the picture; grey bars are the share of the boxes per bin.

    Args:
        curves: Formula -> name of the curve -> one score a box, 0..1; bars are of the first curve.
        right: Whether each box is right.
        default: The formula that is marked as the default.
        path: PNG to write.
    """
    from matplotlib import pyplot as plt

    rows = -(-len(curves) // _COLUMNS)
    figure, axes = plt.subplots(
        rows, _COLUMNS, figsize=(3 * _COLUMNS, 3.2 * rows), sharex=True, sharey=True, layout="constrained"
    )
    for axis in axes.flat[len(curves) :]:
        axis.axis("off")
    for axis, (name, scores) in zip(axes.flat, curves.items(), strict=False):
        _panel(axis, scores, right)
        axis.set_title(name + (" (default)" if name == default else ""), fontsize=9)
    axes.flat[0].legend(fontsize=8)
    figure.supxlabel("score (grey bars: share of the boxes, raw)")
    figure.supylabel("share of right boxes")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis: Any, curves: Mapping[str, NDArray[np.float64]], right: NDArray[np.bool_]) -> None:
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
    for number, (label, scores) in enumerate(curves.items()):
        bins = np.minimum((scores * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        some = counts > 0
        means = np.bincount(bins, scores, BINS)[some] / counts[some]
        shares = np.bincount(bins, right.astype(float), BINS)[some] / counts[some]
        axis.plot(means, shares, marker="o", label=label)
        if number == 0:
            axis.bar((np.arange(BINS) + 0.5) / BINS, counts / len(scores), 0.9 / BINS, color="0.85", zorder=0)
