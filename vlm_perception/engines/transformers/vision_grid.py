"""What the vision tower knows of an image by its size alone: order, windows and rotary positions of its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sequences:
    """Patches that attend to one another, sequence behind sequence.

    Attributes:
        groups: (count, length) of sequences of one length that follow one another, in the order of the patches.
        bounds: Where each sequence begins, and the number of patches, (sequences + 1,) int32 on the device.
    """

    groups: tuple[tuple[int, int], ...]
    bounds: torch.Tensor

    @property
    def longest(self) -> int:
        """Patches of the longest sequence."""
        return max(length for _, length in self.groups)


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary position of each patch, (patches, 1, 1, head size) float32 on the device.

    Attributes:
        cosine: Of the angles.
        signed_sine: Of the angles, negative in the first half of the head.
    """

    cosine: torch.Tensor
    signed_sine: torch.Tensor


@dataclass(frozen=True, slots=True)
class GridPlan:
    """What a size means for the tower.

    Attributes:
        order: Image tokens sorted by windows, the longest windows first, (image tokens,) int64 on the device.
        back: Where each image token, row by row, stands in that order; likewise.
        rotary: Positions of the patches in that order.
        windows: What attends to one another in most blocks.
        image: What does so in the others: all patches.
    """

    order: torch.Tensor
    back: torch.Tensor
    rotary: Rotary
    windows: Sequences
    image: Sequences


@dataclass(frozen=True, eq=False, slots=True)
class GridPlanner:
    """Finds plans.

    Attributes:
        merge: Rows and columns of patches that become one image token.
        window: Rows and columns of image tokens in a whole window.
        frequencies: Rotary frequencies of rows, and of columns, (head size / 4,).
    """

    merge: int
    window: int
    frequencies: torch.Tensor

    def plan(self, rows: int, columns: int, device: torch.device) -> GridPlan:
        """Plan for an image of rows and columns of patches; computed on the host, then moved to the device."""
        windows = _sorted_windows(rows // self.merge, columns // self.merge, self.window)
        order = np.concatenate(windows)
        places = _patch_places(rows, columns, self.merge)[:, order].reshape(2, -1)
        lengths = [len(window) * self.merge**2 for window in windows]
        # A plan outlives the pass that needed it first: as tensors of inference mode no gradient could pass it.
        with torch.inference_mode(False):
            return GridPlan(
                torch.from_numpy(order).to(device),
                torch.from_numpy(np.argsort(order)).to(device),
                self._rotary(places, device),
                _sequences(lengths, device),
                _sequences([rows * columns], device),
            )

    def _rotary(self, places: NDArray[np.int64], device: torch.device) -> Rotary:
        """Turn patches by row and column, (2, patches); each turns one half of a head's pairs."""
        frequencies = self.frequencies.to(device, torch.float32)
        row, column = (torch.from_numpy(axis).to(device)[:, None].float() * frequencies for axis in places)
        angles = torch.cat([row, column], dim=-1)[:, None, None]
        cosine, sine = angles.cos(), angles.sin()
        return Rotary(torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1))


def _sorted_windows(rows: int, columns: int, side: int) -> list[NDArray[np.int64]]:
    """Cut rows and columns of image tokens into windows, the longest first; each lists its tokens."""
    tokens = np.arange(rows * columns).reshape(rows, columns)
    windows = [
        tokens[top : top + side, left : left + side].ravel()
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]
    return sorted(windows, key=len, reverse=True)


def _patch_places(rows: int, columns: int, merge: int) -> NDArray[np.int64]:
    """Row and column of each patch, (2, image tokens, patches of one), as the processor orders them."""
    places = np.indices((rows, columns)).reshape(2, rows // merge, merge, columns // merge, merge)
    cells: NDArray[np.int64] = places.transpose(0, 1, 3, 2, 4).reshape(2, -1, merge**2)
    return cells


def _sequences(lengths: Sequence[int], device: torch.device) -> Sequences:
    groups = tuple((len(list(group)), length) for length, group in groupby(lengths))
    bounds = np.cumsum([0, *lengths], dtype=np.int32)
    return Sequences(groups, torch.from_numpy(bounds).to(device))
