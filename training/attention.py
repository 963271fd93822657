"""Attention for training on a CPU: few products over large blocks, on the way back too.

A step spends most of its time here, and both what torch compiles of the plain formula and torch's own attention are
slow at the way back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Tokens whose attention is computed together. Nobody sees what comes later: left out, that is half of the work.
_ROWS = 128


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, scaled by the root of the width of a head.

    Args:
        query: (scenes, heads, length, head_dim).
        key: (scenes, heads / groups, length, head_dim); `groups` heads in a row look at the same one.
        value: As `key`.
        mask: (scenes, 1, length, length) bool, causal; None where all see all.

    Returns:
        As `query`.
    """
    mixed: Tensor = _Attention.apply(query, key, value, mask)
    return mixed


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        queries, keys, values = _grouped(query, key), key.flatten(0, 1), value.flatten(0, 1)
        mixed, kept = torch.empty_like(query, memory_format=torch.contiguous_format), []
        by_group = _grouped(mixed, key)
        with torch.autocast(query.device.type, enabled=False):
            for start, end in _blocks(query.shape[2], mask):
                scores = _rows(queries, start, end) * query.shape[-1] ** -0.5 @ keys[:, :end].transpose(1, 2)
                if mask is not None:
                    by_scene = scores.view(len(query), -1, end - start, end)
                    by_scene.masked_fill_(~mask[:, :, start:end, :end], -torch.inf)
                kept.append(scores.softmax(dim=-1))
                by_group[:, :, start:end] = (kept[-1] @ values[:, :end]).view_as(by_group[:, :, start:end])
        ctx.save_for_backward(query, key, value, mask, *kept)
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, mask, *kept = ctx.saved_tensors
        queries, keys, values = _grouped(query, key), key.flatten(0, 1), value.flatten(0, 1)
        of_mixed, scale = _grouped(gradients[0], key), query.shape[-1] ** -0.5
        of_queries = torch.empty_like(queries)
        exact = torch.promote_types(keys.dtype, torch.float32)
        of_keys, of_values = (torch.zeros_like(keys, dtype=exact) for _ in range(2))
        for (start, end), weights in zip(_blocks(query.shape[2], mask), kept, strict=True):
            rows = _rows(of_mixed, start, end)
            of_values[:, :end] += weights.transpose(1, 2) @ rows
            of_weights = rows @ values[:, :end].transpose(1, 2)
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_rows = of_scores @ keys[:, :end] * scale
            of_queries[:, :, start:end] = of_rows.view_as(of_queries[:, :, start:end])
            of_keys[:, :end] += of_scores.transpose(1, 2) @ _rows(queries, start, end) * scale
        return (
            of_queries.view_as(query),
            of_keys.to(key.dtype).view_as(key),
            of_values.to(value.dtype).view_as(value),
            None,
        )


def _blocks(length: int, mask: Tensor | None) -> list[tuple[int, int]]:
    """First and last row, exclusive, of each block; what is seen ends with it."""
    rows = length if mask is None else _ROWS
    return [(start, min(start + rows, length)) for start in range(0, length, rows)]


def _grouped(heads: Tensor, key: Tensor) -> Tensor:
    """(scenes, heads, length, head_dim) to (scenes * heads of `key`, groups, length, head_dim)."""
    return heads.reshape(key.shape[0] * key.shape[1], -1, *heads.shape[2:])


def _rows(grouped: Tensor, start: int, end: int) -> Tensor:
    """Of all groups, as one list of rows: (scenes * heads of the key, groups * (end - start), head_dim)."""
    return grouped[:, :, start:end].flatten(1, 2)
