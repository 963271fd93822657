"""Training's own attention and its way back are those of torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from training.attention import attend


@pytest.mark.parametrize("length", [7, 128, 300])
@pytest.mark.parametrize(("heads", "key_heads"), [(3, 3), (8, 2)])
@pytest.mark.parametrize("is_masked", [False, True], ids=["all see all", "masked"])
def test_outputs_and_gradients_are_those_of_torch(length: int, heads: int, key_heads: int, is_masked: bool) -> None:
    rng = torch.Generator().manual_seed(length)
    shapes = ((2, heads, length, 16), (2, key_heads, length, 16), (2, key_heads, length, 16))
    query, key, value = (torch.randn(s, generator=rng, dtype=torch.float64, requires_grad=True) for s in shapes)
    mask = None
    if is_masked:
        mask = torch.rand(2, 1, length, length, generator=rng).gt(0.4).tril() | torch.eye(length, dtype=torch.bool)
    ours = attend(query, key, value, mask)
    theirs = scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=heads != key_heads)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(ours.shape, generator=rng, dtype=torch.float64)
    gradients = [torch.autograd.grad((mixed * weights).sum(), (query, key, value)) for mixed in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_half_precision_stays_near_within_autocast() -> None:
    rng = torch.Generator().manual_seed(0)
    exact = [torch.randn(2, 4, 200, 32, generator=rng, requires_grad=True) for _ in range(3)]
    rough = [t.detach().bfloat16().requires_grad_() for t in exact]
    mask = torch.ones(2, 1, 200, 200, dtype=torch.bool).tril()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend(*rough, mask)
    assert mixed.dtype == torch.bfloat16
    wanted = attend(*exact, mask)
    torch.testing.assert_close(mixed.float(), wanted, atol=0.03, rtol=0.03)
    for ours, theirs in zip(
        torch.autograd.grad(mixed.sum(), rough), torch.autograd.grad(wanted.sum(), exact), strict=True
    ):
        assert ours.dtype == torch.bfloat16
        assert (ours.float() - theirs).norm() < 0.03 * theirs.norm()
