"""The vision tower gives what transformers' own gives, in fewer calls and without waiting for the device."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkout import TINY
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from benchmarks.plain import PlainModel
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.loading import load_checkpoint
from vlm_perception.engines.transformers.vision_attention import attend_by_sdpa
from vlm_perception.engines.transformers.vision_tower import (
    MAX_KEPT_PLANS,
    VisionTower,
    image_features,
    replace_vision_tower,
)
from vlm_perception.errors import ModelLoadError

GRID_1288X728 = (1, 52, 92)


def own_tower(**values: Any) -> Any:
    """transformers' tower with real windows and random weights, as wide as one head needs."""
    shape = {"depth": 4, "hidden_size": 64, "num_heads": 2, "intermediate_size": 96, "out_hidden_size": 48}
    config = Qwen2_5_VLVisionConfig(**{**shape, "fullatt_block_indexes": [1, 3], **values})
    config._attn_implementation = "sdpa"
    torch.manual_seed(1)
    tower: Any = Qwen2_5_VisionTransformerPretrainedModel(config).eval()
    for parameter in tower.parameters():
        torch.nn.init.uniform_(parameter, -0.15, 0.15)
    return tower


def patches_of(grid_thw: tuple[int, int, int]) -> torch.Tensor:
    _, rows, columns = grid_thw
    return torch.randn(rows * columns, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(rows))


def calls_of(action: Callable[[], object]) -> Counter[str]:
    """Count the operations of torch while something runs."""
    counts: Counter[str] = Counter()

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            counts[func.overloadpacket.__name__] += 1
            return func(*args, **(kwargs or {}))

    with Count():
        action()
    return counts


# Whether windows of this size come longest first by themselves; sorting them moves rows within matrix products, and
# keys within sums over the whole image.
GRIDS = {
    (2, 2): True,
    (4, 4): True,
    (8, 8): True,
    (16, 24): True,
    (2, 40): True,
    (40, 2): True,
    (8, 12): True,
    (10, 14): True,
    (18, 22): False,
    (30, 28): False,
    (28, 30): False,
    GRID_1288X728[1:]: False,
}


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grid_hw", GRIDS)
def test_features_are_those_of_the_loop_over_windows(grid_hw: tuple[int, int], dtype: torch.dtype) -> None:
    grid_thw = (1, *grid_hw)
    own = own_tower()
    own.rotary_pos_emb.inv_freq, frequencies = None, own.rotary_pos_emb.inv_freq
    own.to(dtype).rotary_pos_emb.inv_freq = frequencies  # Loading keeps them in float32.
    tower = VisionTower(copy.deepcopy(own), attend_by_sdpa)
    weight = own.patch_embed.proj.weight.flatten(1)
    own.patch_embed.forward = lambda patches: linear(patches.to(weight.dtype), weight)
    patches = patches_of(grid_thw)
    mine, its = tower.features(patches, grid_thw), own(patches, grid_thw=torch.tensor([grid_thw])).pooler_output
    assert mine.isfinite().all()
    assert its.abs().max() > 0.2
    if GRIDS[grid_hw]:
        assert torch.equal(mine, its)
    else:
        # Three units in the last place of numbers up to 1.
        torch.testing.assert_close(mine, its, atol=3 * torch.finfo(dtype).eps, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("grid_thw", [(1, 12, 16), (1, 34, 46), (1, 2, 6)])
def test_a_loaded_model_sees_what_transformers_sees(plain: PlainModel, grid_thw: tuple[int, int, int]) -> None:
    loaded = load_checkpoint(find_checkpoint(str(TINY)), "cpu", "auto").model
    patches, grid = patches_of(grid_thw), torch.tensor([grid_thw])
    mine, its = (image_features(model, patches, grid_thw).tokens for model in (loaded, plain.model))
    # The patch embedding sums 1,176 float32 products in another order.
    torch.testing.assert_close(mine, its, atol=2e-5 * float(its.abs().max()), rtol=0)
    assert torch.equal(mine, loaded.model.get_image_features(patches, grid).pooler_output[0])
    assert list(loaded.state_dict()) == list(plain.model.state_dict())


@torch.inference_mode()
def test_attention_is_called_once_for_each_length_of_windows() -> None:
    own = own_tower(depth=32, hidden_size=8, num_heads=2, intermediate_size=8, fullatt_block_indexes=[7, 15, 23, 31])
    tower, patches = VisionTower(copy.deepcopy(own), attend_by_sdpa), patches_of(GRID_1288X728)

    def attentions(action: Callable[[], object]) -> int:
        return sum(count for name, count in calls_of(action).items() if "scaled_dot_product" in name)

    assert attentions(lambda: own(patches, grid_thw=torch.tensor([GRID_1288X728]))) == 28 * 84 + 4
    # 66 whole windows, 17 halves at the edges, 1 quarter.
    assert attentions(lambda: tower.features(patches, GRID_1288X728)) == 28 * 3 + 4
    assert attentions(lambda: tower.features(patches_of((1, 16, 24)), (1, 16, 24))) == 32


def test_nothing_is_read_back_from_the_device() -> None:
    """Tensors on the device `meta` have no values: whatever depends on one fails there."""
    own = own_tower().to("meta")
    tower, patches = VisionTower(copy.deepcopy(own), attend_by_sdpa), patches_of(GRID_1288X728).to("meta")
    features = tower.features(patches, GRID_1288X728)
    assert (features.shape, features.device.type) == ((26 * 46, 48), "meta")
    with pytest.raises(RuntimeError, match="meta"):
        own(patches, grid_thw=torch.tensor([GRID_1288X728], device="meta"))


@torch.inference_mode()
def test_a_size_is_planned_once_while_it_is_in_use() -> None:
    tower = VisionTower(own_tower(depth=1), attend_by_sdpa)

    def look(columns: int) -> Counter[str]:
        return calls_of(lambda: tower.features(patches_of((1, 4, columns)), (1, 4, columns)))

    def planned(columns: int) -> bool:
        return look(columns)["cos"] > 0

    sizes = [4 + 2 * place for place in range(MAX_KEPT_PLANS + 1)]
    assert planned(sizes[0])
    assert not planned(sizes[0])
    assert all(planned(columns) for columns in sizes[1:])
    assert planned(sizes[0]), "the size used longest ago made room"


def test_a_plan_made_in_inference_mode_serves_gradients() -> None:
    tower, patches = VisionTower(own_tower(), attend_by_sdpa), patches_of((1, 8, 12))
    with torch.inference_mode():
        tower.features(patches, (1, 8, 12))
    tower.features(patches, (1, 8, 12)).sum().backward()
    assert all(parameter.grad is not None for parameter in tower.parameters())


def test_a_video_is_refused() -> None:
    with pytest.raises(ValueError, match="2 times in one grid"):
        VisionTower(own_tower(), attend_by_sdpa).features(torch.zeros(8, 1176), (2, 2, 2))


def test_a_tower_that_accelerate_moves_is_left_alone() -> None:
    own = own_tower()
    own.blocks[2].mlp._hf_hook = object()
    model: Any = SimpleNamespace(model=SimpleNamespace(visual=own), device=torch.device("cpu"))
    replace_vision_tower(model)
    assert model.model.visual is own
    assert image_features(model, patches_of((1, 4, 4)), (1, 4, 4)).tokens.shape == (4, 48)
    with pytest.raises(ModelLoadError, match="accelerate spreads the vision tower"):
        replace_vision_tower(model, lambda *_: torch.zeros(0))
