"""The forward pass of Qwen2.5-VL and Qwen3-VL on a whole batch of equally sized images at once.

The modules and weights are those of transformers' `Qwen2_5_VLForConditionalGeneration` and
`Qwen3VLForConditionalGeneration`; only the order of work differs. What a family's layers are made of is
read from the modules. Upstream loops over images and windows in Python on the CPU, which for many
small images costs more than the arithmetic; here all images of a batch have one grid and every
vision block attends to its whole image, so both loops become one batched product. Several
questions about one image share its prefix under a block mask. `test/model/test_forward.py` holds
this pass equal to upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from training.attention import attend


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes with several questions each, all images of one grid.

    Attributes:
        patches: (scenes, grid_t * grid_h * grid_w, values of a patch) float32, in the processor's patch order.
        grid_hw: Patches down and across.
        input_ids: (scenes, length) int64.
        segments: (scenes, length) int64; 0 shared prefix, 1.. question, -1 padding.
        positions: (3, scenes, length) int64, multimodal rotary positions.
        labels: (scenes, length) int64, -100 where nothing is predicted; already shifted.
        weights: (scenes, length) float32 loss weights beside `labels`.
        grid_t: Pairs of frames of a clip, one behind the other in `patches`; 1 for images.
        pointers: (scenes, length) int64, the image token that holds the centre of the object which
            the label is part of or, where the label decides whether another object follows, of the
            next one; the number of image tokens where none follows; -1 where nothing is asked. Of a clip, counted
            through all its pairs.
    """

    patches: Tensor
    grid_hw: tuple[int, int]
    input_ids: Tensor
    segments: Tensor
    positions: Tensor
    labels: Tensor
    weights: Tensor
    pointers: Tensor
    grid_t: int = 1


@dataclass(frozen=True, slots=True)
class Hidden:
    """What the dense training heads look at, and the last hidden states.

    Attributes:
        vision: (scenes, tokens, width) merged vision tokens.
        layers: (scenes, length, width) after every decoder layer, as the next one gets it.
        last: (scenes, length, width) after the final norm.
        rotary: Cosine and sine, each (scenes, length, head_dim).
    """

    vision: Tensor
    layers: list[Tensor]
    last: Tensor
    rotary: tuple[Tensor, Tensor]


def run(model: Any, batch: Batch) -> Hidden:
    """Forward a batch through vision and language model."""
    # Pairs of frames do not see each other in the vision tower: to it they are images.
    scenes, count, values = batch.patches.shape
    frames = batch.patches.view(scenes * batch.grid_t, count // batch.grid_t, values)
    vision, deep = encode_images(model.model.visual, frames, batch.grid_hw)
    vision, *deep = (tokens.reshape(scenes, -1, tokens.shape[-1]) for tokens in (vision, *deep))
    text = model.model.language_model
    embeds = text.embed_tokens(batch.input_ids).to(vision.dtype)
    seen = model.config.video_token_id if batch.grid_t > 1 else model.config.image_token_id
    is_image = (batch.input_ids == seen).unsqueeze(-1)
    embeds = embeds.masked_scatter(is_image, vision)
    cos, sin = text.rotary_emb(embeds, batch.positions)
    mask = attention_mask(batch.segments)
    hidden, layers = embeds, []
    for index, layer in enumerate(text.layers):
        hidden = _decoder_layer(layer, hidden, cos.unsqueeze(1), sin.unsqueeze(1), mask)
        if index < len(deep):
            hidden = hidden + torch.zeros_like(hidden).masked_scatter(is_image, deep[index].to(hidden.dtype))
        layers.append(hidden)
    return Hidden(vision, layers, norm(text.norm, hidden), (cos, sin))


def attention_mask(segments: Tensor) -> Tensor:
    """(scenes, 1, length, length) bool: causal, and only the shared prefix or one's own question."""
    own = segments.unsqueeze(2) == segments.unsqueeze(1)
    shared = (segments == 0).unsqueeze(1)
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return ((own | shared) & causal).unsqueeze(1)


def encode_images(visual: Any, patches: Tensor, grid_hw: tuple[int, int]) -> tuple[Tensor, list[Tensor]]:
    """Vision tower: (scenes, patches, values) to merged tokens (scenes, patches / 4, width).

    Returns:
        The tokens, and those that Qwen3-VL adds after each of its first decoder layers (DeepStack).
    """
    proj = visual.patch_embed.proj
    hidden = fn.linear(patches, proj.weight.view(proj.weight.shape[0], -1), proj.bias)
    if hasattr(visual, "pos_embed"):
        hidden = hidden + _learned_positions(visual, grid_hw).to(hidden.dtype)
    cos, sin = _vision_rotary(visual, grid_hw)
    deep_after, deep = list(getattr(visual, "deepstack_visual_indexes", ())), []
    for index, block in enumerate(visual.blocks):
        hidden = _vision_block(block, hidden, cos, sin)
        if index in deep_after:
            deep.append(_merge_deep(visual.deepstack_merger_list[deep_after.index(index)], hidden))
    return _merge(visual.merger, hidden), deep


def _merge(merger: Any, hidden: Tensor) -> Tensor:
    """Four patches to a token; they lie one behind the other."""
    scenes, count = hidden.shape[:2]
    if hasattr(merger, "ln_q"):
        merged: Tensor = merger.mlp(norm(merger.ln_q, hidden).view(scenes, count // 4, -1))
        return merged
    return _two_layers(merger, norm(merger.norm, hidden).view(scenes, count // 4, -1))


def _merge_deep(merger: Any, hidden: Tensor) -> Tensor:
    scenes, count = hidden.shape[:2]
    return _two_layers(merger, norm(merger.norm, hidden.view(scenes, count // 4, -1)))


def _learned_positions(visual: Any, grid_hw: tuple[int, int]) -> Tensor:
    """(patches, width) of the square of learned positions, drawn out to the image's grid."""
    side, width = visual.num_grid_per_side, visual.pos_embed.weight.shape[1]
    square = visual.pos_embed.weight.view(1, side, side, width).permute(0, 3, 1, 2)
    grid = fn.interpolate(square, size=grid_hw, mode="bilinear", align_corners=True)[0]
    return _in_patch_order(grid.permute(1, 2, 0))


def _in_patch_order(grid: Tensor) -> Tensor:
    """(h, w, ...) to (h * w, ...) in the processor's order: 2x2 groups, row by row."""
    down, across = grid.shape[:2]
    groups = grid.reshape(down // 2, 2, across // 2, 2, *grid.shape[2:]).transpose(1, 2)
    return groups.reshape(down * across, *grid.shape[2:])


def _vision_rotary(visual: Any, grid_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Cosine and sine (patches, head_dim) in the processor's order."""
    inverse = visual.rotary_pos_emb.inv_freq
    rows, columns = torch.meshgrid(*(torch.arange(n, device=inverse.device) for n in grid_hw), indexing="ij")
    angle = torch.cat([_in_patch_order(g)[:, None].float() * inverse for g in (rows, columns)], dim=-1)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def _vision_block(block: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    scenes, count, width = hidden.shape
    attn = block.attn
    qkv = attn.qkv(norm(block.norm1, hidden)).view(scenes, count, 3, attn.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    mixed = attend(rotate(query, cos, sin), rotate(key, cos, sin), value)
    hidden = hidden + attn.proj(mixed.transpose(1, 2).reshape(scenes, count, width))
    normed = norm(block.norm2, hidden)
    return hidden + (_gated if hasattr(block.mlp, "gate_proj") else _two_layers)(block.mlp, normed)


def _decoder_layer(layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
    scenes, length, width = hidden.shape
    attn = layer.self_attn
    normed = norm(layer.input_layernorm, hidden)
    query, key, value = (
        proj(normed).view(scenes, length, -1, attn.head_dim) for proj in (attn.q_proj, attn.k_proj, attn.v_proj)
    )
    query, key = (_head_norm(attn, name, heads) for name, heads in (("q_norm", query), ("k_norm", key)))
    query, key, value = (heads.transpose(1, 2) for heads in (query, key, value))
    mixed = attend(rotate(query, cos, sin), rotate(key, cos, sin), value, mask)
    hidden = hidden + attn.o_proj(mixed.transpose(1, 2).reshape(scenes, length, width))
    return hidden + _gated(layer.mlp, norm(layer.post_attention_layernorm, hidden))


def first_head(attn: Any, normed: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotated query and key, each (scenes, length, head_dim), of a decoder layer's first head alone."""
    heads = []
    for proj, name in ((attn.q_proj, "q_norm"), (attn.k_proj, "k_norm")):
        bias = None if proj.bias is None else proj.bias[: attn.head_dim]
        head = _head_norm(attn, name, fn.linear(normed, proj.weight[: attn.head_dim], bias))
        heads.append(rotate(head, cos, sin))
    return heads[0], heads[1]


def _head_norm(attn: Any, name: str, heads: Tensor) -> Tensor:
    """Qwen3-VL norms queries and keys, head by head."""
    return norm(getattr(attn, name), heads) if hasattr(attn, name) else heads


def _two_layers(mlp: Any, hidden: Tensor) -> Tensor:
    out: Tensor = mlp.linear_fc2(mlp.act_fn(mlp.linear_fc1(hidden)))
    return out


def _gated(mlp: Any, hidden: Tensor) -> Tensor:
    out: Tensor = mlp.down_proj(fn.silu(mlp.gate_proj(hidden)) * mlp.up_proj(hidden))
    return out


def norm(module: Any, hidden: Tensor) -> Tensor:
    """Layer norm or RMS norm, in the precision of `hidden`."""
    weight = module.weight.to(hidden.dtype)
    if isinstance(module, nn.LayerNorm):
        return fn.layer_norm(hidden, module.normalized_shape, weight, module.bias.to(hidden.dtype), module.eps)
    return fn.rms_norm(hidden, weight.shape, weight, module.variance_epsilon)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = heads.shape[-1] // 2
    turned = torch.cat([-heads[..., half:], heads[..., :half]], dim=-1)
    return heads * cos.to(heads.dtype) + turned * sin.to(heads.dtype)
