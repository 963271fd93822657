"""The vision tower of Qwen2.5-VL without what is the same for every frame.

transformers' own tower finds order, windows and positions anew for each frame, reads numbers back from the device on
the way, and calls the attention once a window: 2,356 times for 1288x728 pixels in a tower of 32 blocks. Here they are
found once a size, and windows are sorted by length, so that those of one length are one batch of one call. There are
at most four lengths: whole windows, those cut by the right edge, by the lower one, and by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from vlm_perception.engines.transformers.vision_attention import Attend, attend_by_sdpa
from vlm_perception.engines.transformers.vision_grid import GridPlanner, Rotary, Sequences
from vlm_perception.errors import ModelLoadError

# The frames of a camera all have one size; of 1,196 image tokens a plan takes 3 MB.
MAX_KEPT_PLANS = 8


class SequenceAttention(nn.Module):
    """The attention of one block; owns the same layers under the same names as transformers' own.

    Args:
        own: The module of transformers.
        attend: Computes it.
    """

    def __init__(self, own: Any, attend: Attend) -> None:
        super().__init__()
        self.qkv, self.proj = own.qkv, own.proj
        self._heads, self._scale = int(own.num_heads), float(own.scaling)
        self._attend = attend

    def forward(
        self, hidden_states: torch.Tensor, cu_seqlens: Sequences, position_embeddings: Rotary, **_: object
    ) -> torch.Tensor:
        """Attend, (patches, width) to (patches, width); arguments are named as transformers' blocks hand them on."""
        states = self.qkv(hidden_states).unflatten(-1, (3, self._heads, -1))
        turned, value = states[:, :2].float(), states[:, 2]
        # The usual rotation of halves, to the last bit: a sine with signs saves the change of sign, and in place it
        # takes a CPU about half the time.
        swapped = turned.roll(turned.shape[-1] // 2, dims=-1)
        turned.mul_(position_embeddings.cosine).add_(swapped.mul_(position_embeddings.signed_sine))
        query, key = turned.to(value.dtype).unbind(1)
        mixed = self._attend(query, key, value, cu_seqlens, self._scale)
        projected: torch.Tensor = self.proj(mixed.flatten(1))
        return projected


class VisionTower(nn.Module):
    """Does what transformers' vision tower does; owns the same layers under the same names.

    Features differ from its own by rounding alone: sums run over the same numbers in another order.

    Args:
        own: The tower of transformers; its attention modules are replaced.
        attend: Computes attention.
    """

    def __init__(self, own: Any, attend: Attend) -> None:
        super().__init__()
        self.patch_embed, self.blocks, self.merger = own.patch_embed, own.blocks, own.merger
        self.spatial_merge_size = int(own.spatial_merge_size)
        self._whole_blocks = frozenset(own.fullatt_block_indexes)
        window = int(own.window_size) // int(own.patch_size) // self.spatial_merge_size
        planner = GridPlanner(self.spatial_merge_size, window, own.rotary_pos_emb.inv_freq)
        self._plan = lru_cache(maxsize=MAX_KEPT_PLANS)(planner.plan)
        for block in self.blocks:
            block.attn = SequenceAttention(block.attn, attend)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights, as transformers asks for it."""
        weight: torch.Tensor = self.patch_embed.proj.weight
        return weight.dtype

    def features(self, patches: torch.Tensor, grid_thw: tuple[int, int, int]) -> torch.Tensor:
        """Look at one image; when its size is known, nothing waits for the device.

        Args:
            patches: (patches, values) normalised, as the checkpoint's processor orders them.
            grid_thw: Time, rows and columns of the patches.

        Returns:
            (image tokens, width of the decoder), row by row.

        Raises:
            ValueError: More than one time: a video is looked at grid by grid.
        """
        time, rows, columns = grid_thw
        if time != 1:
            raise ValueError(f"{time} times in one grid: the vision tower looks at single images")
        weight = self.patch_embed.proj.weight
        plan = self._plan(rows, columns, weight.device)
        # The convolution has one place to stand, and as such takes a CPU three to four times as long as the product.
        embedded = functional.linear(patches.to(weight.device, weight.dtype), weight.flatten(1))
        tokens = embedded.view(-1, self.spatial_merge_size**2, embedded.shape[-1])
        hidden = tokens[plan.order].flatten(0, 1)
        for place, block in enumerate(self.blocks):
            sequences = plan.image if place in self._whole_blocks else plan.windows
            hidden = block(hidden, cu_seqlens=sequences, position_embeddings=plan.rotary)
        features: torch.Tensor = self.merger(hidden)[plan.back]
        return features

    def forward(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **_: object) -> BaseModelOutputWithPooling:
        """Do so as transformers calls it, with one row in `grid_thw`."""
        ((time, rows, columns),) = grid_thw.tolist()
        return BaseModelOutputWithPooling(pooler_output=self.features(hidden_states, (time, rows, columns)))


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What a model sees of one image.

    Attributes:
        tokens: (image tokens, width of the decoder), row by row.
        layers: Of the same shape, each added behind one of the decoder's first layers; Qwen2.5-VL has none.
            Source: "DeepStack" (arXiv 2406.04334).
        is_image: (tokens,) bool, which of the tokens `layers` are added to where there are words among them; None for
            all of them.
    """

    tokens: torch.Tensor
    layers: tuple[torch.Tensor, ...] = ()
    is_image: torch.Tensor | None = None


def replace_vision_tower(model: Any, attend: Attend = attend_by_sdpa) -> None:
    """Let a Qwen2.5-VL model of transformers look at images through `VisionTower`.

    Its own tower stays where accelerate moves the layers between devices, and in other families.

    Raises:
        ModelLoadError: It stays, and does not compute attention as it was asked to.
    """
    own = model.model.visual
    if not isinstance(own, Qwen2_5_VisionTransformerPretrainedModel):
        if attend is not attend_by_sdpa:
            raise ModelLoadError(
                f"vision_attention flash_attention_2 was asked for, which is for Qwen2.5-VL alone, this is "
                f"{type(model).__name__}: set vision_attention to auto or sdpa"
            )
    elif not any(hasattr(module, "_hf_hook") for module in own.modules()):
        model.model.visual = VisionTower(own, attend)
    elif attend is not attend_by_sdpa:
        raise ModelLoadError(
            "vision_attention flash_attention_2 was asked for, accelerate spreads the vision tower over several "
            "devices: set device to cuda or cuda:N, or vision_attention to auto or sdpa"
        )


def image_features(model: Any, patches: torch.Tensor, grid_thw: tuple[int, int, int]) -> ImageFeatures:
    """Look at one image with a model, whichever tower it has; see `VisionTower.features`."""
    tower = model.model.visual
    # Only transformers' own tower computes with the grid.
    grid = torch.tensor([grid_thw], device="cpu" if isinstance(tower, VisionTower) else model.device)
    seen = tower(patches.to(model.device), grid_thw=grid)
    return ImageFeatures(seen.pooler_output, tuple(getattr(seen, "deepstack_features", None) or ()))
