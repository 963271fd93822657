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


def with_layer(layer: nn.Module) -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(visual=SimpleNamespace(patch_embed=SimpleNamespace(proj=layer))))


@torch.inference_mode()
def test_a_loaded_model_embeds_patches_as_transformers_does() -> None:
    plain = PlainModel(TINY).model
    loaded = load_checkpoint(TINY, "cpu", "auto").model
    assert isinstance(loaded.model.visual.patch_embed.proj, FlatPatchEmbedding)
    assert isinstance(plain.model.visual.patch_embed.proj, nn.Conv3d)
    patches = torch.rand(12 * 16, 3 * 2 * 14 * 14)
    mine, its = loaded.model.visual.patch_embed(patches), plain.model.visual.patch_embed(patches)
    torch.testing.assert_close(mine, its, atol=1e-5, rtol=1e-5)
    assert list(loaded.state_dict()) == list(plain.state_dict())


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_is_kept(bias: bool) -> None:
    layer = nn.Conv3d(3, 8, (2, 4, 4), (2, 4, 4), bias=bias)
    patches = torch.rand(5, 3, 2, 4, 4)
    torch.testing.assert_close(FlatPatchEmbedding(layer)(patches), layer(patches).flatten(1))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv3d(3, 8, (2, 4, 4)), nn.Conv3d(3, 8, 2, 2, padding=1), nn.Conv3d(3, 6, 2, 2, groups=3), nn.Linear(3, 8)],
)
def test_other_layers_are_left_alone(layer: nn.Module) -> None:
    model = with_layer(layer)
    flatten_patch_embedding(model)
    assert model.model.visual.patch_embed.proj is layer


def test_a_layer_that_accelerate_moves_is_left_alone() -> None:
    layer = nn.Conv3d(3, 8, 2, 2)
    model = with_layer(layer)
    layer._hf_hook = object()  # type: ignore[assignment]
    flatten_patch_embedding(model)
    assert model.model.visual.patch_embed.proj is layer
