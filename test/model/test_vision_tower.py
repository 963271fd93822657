"""The patch embedding as a matrix product gives what the convolution gives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from checkout import TINY
from torch import nn

from benchmarks.plain import PlainModel
from vlm_perception.engines.transformers.loading import load_checkpoint
from vlm_perception.engines.transformers.patch_embedding import FlatPatchEmbedding, flatten_patch_embedding


@torch.inference_mode()
def test_a_loaded_model_embeds_patches_as_transformers_does(plain: PlainModel) -> None:
    loaded, its_model = load_checkpoint(str(TINY), "cpu", "auto").model, plain.model
    assert isinstance(loaded.model.visual.patch_embed.proj, FlatPatchEmbedding)
    assert isinstance(its_model.model.visual.patch_embed.proj, nn.Conv3d)
    patches = torch.rand(12 * 16, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(1))
    mine, its = loaded.model.visual.patch_embed(patches), its_model.model.visual.patch_embed(patches)
    # Sums of 1,176 float32 products in another order.
    torch.testing.assert_close(mine, its, atol=5e-5, rtol=1e-5)
    assert list(loaded.state_dict()) == list(its_model.state_dict())


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_is_kept(bias: bool) -> None:
    torch.manual_seed(2)
    layer = nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4), bias=bias)
    patches = torch.rand(5, 3, 2, 4, 4)
    torch.testing.assert_close(FlatPatchEmbedding(layer)(patches), layer(patches).flatten(1))


def moved_by_accelerate() -> nn.Module:
    layer = nn.Conv3d(3, 8, 2, 2)
    layer._hf_hook = object()  # type: ignore[assignment]
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv3d(3, 8, (2, 4, 4)),
        nn.Conv3d(3, 8, 2, 2, padding=1),
        nn.Conv3d(3, 6, 2, 2, groups=3),
        nn.Linear(3, 8),
        moved_by_accelerate(),
    ],
)
def test_other_layers_are_left_alone(layer: nn.Module) -> None:
    patch_embed = SimpleNamespace(proj=layer)
    model = SimpleNamespace(model=SimpleNamespace(visual=SimpleNamespace(patch_embed=patch_embed)))
    flatten_patch_embedding(model)
    assert patch_embed.proj is layer
