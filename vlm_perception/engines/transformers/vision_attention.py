"""How the vision tower computes attention, and whether that can be had."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.utils.import_utils import is_flash_attn_2_available

from vlm_perception.engines.transformers.vision_grid import Sequences
from vlm_perception.errors import ModelLoadError

# Takes queries, keys and values, each (patches, heads, head size), what attends to one another, and the factor of
# the products; gives (patches, heads, head size).
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Sequences, float], torch.Tensor]


def attend_by_sdpa(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sequences: Sequences, scale: float
) -> torch.Tensor:
    """Attend by one call of torch for all sequences of one length: nothing is padded, nothing masked."""
    mixed, first = [], 0
    for count, length in sequences.groups:
        last = first + count * length
        batch = (states[first:last].view(count, length, *states.shape[1:]) for states in (query, key, value))
        q, k, v = (states.transpose(1, 2) for states in batch)
        mixed.append(scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2).flatten(0, 1))
        first = last
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def attend_by_varlen(
    kernel: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sequences: Sequences,
    scale: float,
) -> torch.Tensor:
    """Attend by one call for all lengths of a kernel that is called as `flash_attn_varlen_func`."""
    bounds, longest = sequences.bounds, sequences.longest
    mixed: torch.Tensor = kernel(query, key, value, bounds, bounds, longest, longest, softmax_scale=scale)
    return mixed


def find_attention(name: str, device: str, dtype: str) -> Attend:
    """Find what computes attention.

    Args:
        name: Settings' `vision_attention`.
        device: Settings' `device`.
        dtype: Number format that the weights will have, such as "bfloat16".

    Raises:
        ModelLoadError: Not here, or not in this number format; names the remedy.
    """
    if name != "flash_attention_2":
        return attend_by_sdpa
    if why := _why_no_flash(device, dtype):
        raise ModelLoadError(f"vision_attention {name} was asked for, {why}, or set vision_attention to auto or sdpa")
    return partial(attend_by_varlen, importlib.import_module("flash_attn").flash_attn_varlen_func)


def _why_no_flash(device: str, dtype: str) -> str:
    """Say what is in the way of flash-attn and what to do about it; empty when nothing is."""
    if device in ("cpu", "mps") or not torch.cuda.is_available():
        return f"which runs on CUDA alone (device {device}): take a machine with a CUDA device, set device to cuda"
    if dtype not in ("float16", "bfloat16"):
        return f"which does not take {dtype}: set dtype to bfloat16"
    if not is_flash_attn_2_available():
        return "and the package flash-attn 2.3.3 or later is not installed: pip install flash-attn"
    return ""
