"""Attention of the vision tower by torch or by flash-attn, as it was asked for and can be had."""

from __future__ import annotations

import sys
from functools import partial
from itertools import pairwise
from types import ModuleType

import pytest
import torch
from checkout import TINY

from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers import vision_attention
from vlm_perception.engines.transformers.vision_attention import attend_by_sdpa, attend_by_varlen, find_attention
from vlm_perception.engines.transformers.vision_grid import Sequences
from vlm_perception.errors import ModelLoadError


def varlen_by_hand(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    *,
    softmax_scale: float,
) -> torch.Tensor:
    """What flash-attn documents of `flash_attn_varlen_func`, one sequence after another."""
    assert cu_seqlens_q.dtype == torch.int32
    bounds = cu_seqlens_q.tolist()
    lengths = [end - start for start, end in pairwise(bounds)]
    assert (bounds, max_seqlen_q, max_seqlen_k) == (cu_seqlens_k.tolist(), max(lengths), max(lengths))
    mixed = []
    for query, key, value in zip(*(states.split(lengths) for states in (q, k, v)), strict=True):
        weights = (torch.einsum("qhd,khd->hqk", query, key) * softmax_scale).softmax(-1)
        mixed.append(torch.einsum("hqk,khd->qhd", weights, value))
    return torch.cat(mixed)


@pytest.mark.parametrize("groups", [((1, 16),), ((3, 16),), ((2, 16), (3, 8), (1, 4)), ((1, 4), (1, 16))])
def test_torch_and_a_kernel_for_all_lengths_agree(groups: tuple[tuple[int, int], ...]) -> None:
    lengths = [length for count, length in groups for _ in range(count)]
    sequences = Sequences(groups, torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32))
    query, key, value = torch.randn(3, sum(lengths), 4, 20, generator=torch.Generator().manual_seed(1))
    by_torch = attend_by_sdpa(query, key, value, sequences, 0.3)
    torch.testing.assert_close(by_torch, attend_by_varlen(varlen_by_hand, query, key, value, sequences, 0.3))


@pytest.mark.parametrize("name", ["auto", "sdpa"])
def test_torch_computes_it_unless_asked_otherwise(name: str) -> None:
    assert find_attention(name, "cpu", "float32") is attend_by_sdpa


@pytest.mark.parametrize(
    ("device", "dtype", "cuda", "message"),
    [
        ("cpu", "bfloat16", True, "runs on CUDA alone \\(device cpu\\): .* set vision_attention to auto or sdpa"),
        ("auto", "bfloat16", False, "runs on CUDA alone \\(device auto\\)"),
        ("cuda:1", "float32", True, "does not take float32: set dtype to bfloat16"),
        ("auto", "float16", True, "flash-attn 2.3.3 or later is not installed: pip install flash-attn"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: str, cuda: bool, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    with pytest.raises(ModelLoadError, match=f"vision_attention flash_attention_2 was asked for, .*{message}"):
        find_attention("flash_attention_2", device, dtype)


def test_what_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("flash_attn")
    package.flash_attn_varlen_func = varlen_by_hand  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(vision_attention, "is_flash_attn_2_available", lambda: True)
    attend = find_attention("flash_attention_2", "cuda", "bfloat16")
    assert isinstance(attend, partial)
    assert (attend.func, attend.args) == (attend_by_varlen, (varlen_by_hand,))


def test_the_engine_refuses_it_before_it_loads() -> None:
    with pytest.raises(ModelLoadError, match="vision_attention flash_attention_2 was asked for"):
        open_engine(TINY, device="cpu", vision_attention="flash_attention_2")
