"""The first layer of the vision tower as the matrix product that it is.

Patches come cut out, so the convolution over them has one place to stand: its kernel is as large
as its input. On a CPU torch computes it as a convolution all the same, three to four times slower
than the product of the same numbers (1.6 ms of 18 ms for a frame of the tiny model).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FlatPatchEmbedding(nn.Module):
    """Does what a convolution without steps does; owns the same weight under the same name.

    Args:
        convolution: Its kernel covers its whole input.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Embed patches, (count, channels, time, height, width); (count, embedding)."""
        return nn.functional.linear(patches.flatten(1), self.weight.flatten(1), self.bias)


def flatten_patch_embedding(model: Any) -> None:
    """Let a Qwen2.5-VL model of transformers embed its patches by a matrix product.

    Anything but such a convolution is left as it is, and so is one that accelerate moves between devices.
    """
    embedding = model.model.visual.patch_embed
    layer = embedding.proj
    if isinstance(layer, nn.Conv3d) and _has_no_steps(layer) and not hasattr(layer, "_hf_hook"):
        embedding.proj = FlatPatchEmbedding(layer)


def _has_no_steps(layer: nn.Conv3d) -> bool:
    return (layer.stride, layer.padding, layer.dilation, layer.groups) == (layer.kernel_size, (0,) * 3, (1,) * 3, 1)
