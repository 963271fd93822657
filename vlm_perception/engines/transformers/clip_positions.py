"""Where the tokens of a video stand in time, height and width, from the real times of its frames.

Source: "Qwen2.5-VL Technical Report" (arXiv 2502.13923), multimodal rotary position embedding aligned to absolute time,
and the code that it was published with (transformers 4.49 to 5.2). In transformers 5.3 to 5.24 text behind a video goes
on after its rows and columns, however long it lasts, and so stands among its later frames; and one spacing is taken for
all frames. Neither is done here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

# Times are fractions that no binary number meets.
_ROUNDING = 1e-6


def grid_times_s(times_s: Sequence[float], merged: int) -> list[tuple[float, ...]]:
    """Share out the frames of a clip among its grids, each of `merged` frames; the last frame fills up the last grid.

    Args:
        times_s: Of each frame, seconds.
        merged: Frames that become one grid: the vision tower's `temporal_patch_size`.

    Returns:
        The times of the frames of each grid.
    """
    filled = [*times_s, *[times_s[-1]] * (-len(times_s) % merged)]
    return [tuple(filled[start : start + merged]) for start in range(0, len(filled), merged)]


def ticks_of(times_s: Sequence[float], merged: int, tokens_per_second: float) -> list[int]:
    """Say where on the axis of time each grid stands, from the clip's beginning: by its first frame, as Qwen does."""
    return [math.floor(grid[0] * tokens_per_second + _ROUNDING) for grid in grid_times_s(times_s, merged)]


def image_positions(start: int, rows: int, columns: int) -> torch.Tensor:
    """Place image tokens in time, height and width, (3, rows * columns).

    Source: "Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution"
    (arXiv 2409.12191), multimodal rotary position embedding: an image stands at one time, its rows
    and columns count from the text position behind the text before it, and the text behind it
    goes on after the largest of them.
    """
    height = torch.arange(rows).repeat_interleave(columns)
    width = torch.arange(columns).repeat(rows)
    return start + torch.stack([torch.zeros_like(height), height, width])


def clip_positions(
    words: Sequence[int], rows: int, columns: int, ticks: Sequence[int] | None
) -> tuple[torch.Tensor, int]:
    """Place the words before each grid of a clip, and the grids.

    Args:
        words: How many tokens of text stand before each grid.
        rows: Of image tokens in a grid.
        columns: Likewise.
        ticks: Where each grid stands in time (`ticks_of`), for a model whose grids follow one another without text
            between; None for one that has the times in the text, where each grid stands as an image does.

    Returns:
        (3, tokens) positions, and that of the text behind the last grid.
    """
    positions: list[torch.Tensor] = []
    at = 0
    for index, count in enumerate(words):
        positions.append(torch.arange(at, at + count).expand(3, -1))
        at += count
        grid = image_positions(at, rows, columns)
        if ticks is None:
            at += max(rows, columns)
        else:
            grid[0] += ticks[index]
        positions.append(grid)
    behind = at if ticks is None else at + max(rows, columns, ticks[-1] + 1)
    return torch.cat(positions, dim=1), behind
