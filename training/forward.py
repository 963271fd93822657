"""The forward pass of Qwen2.5-VL on a whole batch of equally sized images at once.

The modules and weights are those of transformers' `Qwen2_5_VLForConditionalGeneration`; only the
order of work differs. Upstream loops over images and windows in Python on the CPU, which for many
small images costs more than the arithmetic; here all images of a batch have one grid and every
vision block attends to its whole image, so both loops become one batched product. Several
questions about one image share its prefix under a block mask. `test/model/test_forward.py` holds
this pass equal to upstream's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from transformers import Qwen2_5_VLForConditionalGeneration


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes with several questions each, all images of one grid.

    Attributes:
        patches: (scenes, grid_h * grid_w, 1176) float32, in the processor's patch order.
        grid_hw: Patches down and across.
        input_ids: (scenes, length) int64.
        segments: (scenes, length) int64; 0 shared prefix, 1.. question, -1 padding.
        positions: (3, scenes, length) int64, multimodal rotary positions.
        labels: (scenes, length) int64, -100 where nothing is predicted; already shifted.
        weights: (scenes, length) float32 loss weights beside `labels`.
        pointers: (scenes, length) int64, the image token that holds the centre of the object which
            the label is part of or, where the label decides whether another object follows, of the
            next one; the number of image tokens where none follows; -1 where nothing is asked.
    """

    patches: Tensor
    grid_hw: tuple[int, int]
    input_ids: Tensor
    segments: Tensor
    positions: Tensor
    labels: Tensor
    weights: Tensor
    pointers: Tensor


@dataclass(frozen=True, slots=True)
class Hidden:
    """What the dense training heads look at, and the last hidden states.

    Attributes:
        vision: (scenes, tokens, width) merged vision tokens.
        layers: (scenes, length, width) after every decoder layer.
        last: (scenes, length, width) after the final norm.
        rotary: Cosine and sine, each (scenes, length, head_dim).
    """

    vision: Tensor
    layers: list[Tensor]
    last: Tensor
    rotary: tuple[Tensor, Tensor]


def run(model: Qwen2_5_VLForConditionalGeneration, batch: Batch) -> Hidden:
    """Forward a batch through vision and language model."""
    vision = encode_images(model.model.visual, batch.patches, batch.grid_hw)
    text = model.model.language_model
    embeds = text.embed_tokens(batch.input_ids).to(vision.dtype)
    is_image = batch.input_ids == model.config.image_token_id
    embeds = embeds.masked_scatter(is_image.unsqueeze(-1), vision)
    cos, sin = text.rotary_emb(embeds, batch.positions)
    mask = attention_mask(batch.segments)
    hidden, layers = embeds, []
    for layer in text.layers:
        hidden = _decoder_layer(layer, hidden, cos.unsqueeze(1), sin.unsqueeze(1), mask)
        layers.append(hidden)
    return Hidden(vision, layers, rms_norm(text.norm, hidden), (cos, sin))


def attention_mask(segments: Tensor) -> Tensor:
    """(scenes, 1, length, length) bool: causal, and only the shared prefix or one's own question."""
    own = segments.unsqueeze(2) == segments.unsqueeze(1)
    shared = (segments == 0).unsqueeze(1)
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return ((own | shared) & causal).unsqueeze(1)


def encode_images(visual: nn.Module, patches: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Vision tower: (scenes, patches, 1176) to merged tokens (scenes, patches / 4, width)."""
    scenes, count = patches.shape[:2]
    weight = visual.patch_embed.proj.weight
    hidden = fn.linear(patches, weight.view(weight.shape[0], -1))
    cos, sin = _vision_rotary(visual, grid_hw)
    for block in visual.blocks:
        hidden = _vision_block(block, hidden, cos, sin)
    merger = visual.merger
    merged: Tensor = merger.mlp(rms_norm(merger.ln_q, hidden).view(scenes, count // 4, -1))
    return merged


def _vision_rotary(visual: nn.Module, grid_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Cosine and sine (patches, head_dim) in the processor's order: 2x2 groups, row by row."""
    rows, columns = torch.meshgrid(torch.arange(grid_hw[0]), torch.arange(grid_hw[1]), indexing="ij")
    grouped = [
        g.reshape(grid_hw[0] // 2, 2, grid_hw[1] // 2, 2).permute(0, 2, 1, 3).reshape(-1) for g in (rows, columns)
    ]
    angle = torch.cat([g[:, None].float() * visual.rotary_pos_emb.inv_freq for g in grouped], dim=-1)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def _vision_block(block: nn.Module, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    scenes, count, width = hidden.shape
    attn = block.attn
    qkv = attn.qkv(rms_norm(block.norm1, hidden)).view(scenes, count, 3, attn.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    mixed = fn.scaled_dot_product_attention(rotate(query, cos, sin), rotate(key, cos, sin), value)
    hidden = hidden + attn.proj(mixed.transpose(1, 2).reshape(scenes, count, width))
    return hidden + _gated(block.mlp, rms_norm(block.norm2, hidden))


def _decoder_layer(layer: nn.Module, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
    scenes, length, width = hidden.shape
    attn = layer.self_attn
    normed = rms_norm(layer.input_layernorm, hidden)
    query, key, value = (
        proj(normed).view(scenes, length, -1, attn.head_dim).transpose(1, 2)
        for proj in (attn.q_proj, attn.k_proj, attn.v_proj)
    )
    groups = attn.num_key_value_groups
    key, value = (t.repeat_interleave(groups, dim=1) for t in (rotate(key, cos, sin), value))
    mixed = fn.scaled_dot_product_attention(rotate(query, cos, sin), key, value, attn_mask=mask)
    hidden = hidden + attn.o_proj(mixed.transpose(1, 2).reshape(scenes, length, width))
    return hidden + _gated(layer.mlp, rms_norm(layer.post_attention_layernorm, hidden))


def _gated(mlp: nn.Module, hidden: Tensor) -> Tensor:
    out: Tensor = mlp.down_proj(fn.silu(mlp.gate_proj(hidden)) * mlp.up_proj(hidden))
    return out


def rms_norm(norm: nn.Module, hidden: Tensor) -> Tensor:
    return fn.rms_norm(hidden, norm.weight.shape, norm.weight.to(hidden.dtype), norm.variance_epsilon)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = heads.shape[-1] // 2
    turned = torch.cat([-heads[..., half:], heads[..., :half]], dim=-1)
    return heads * cos.to(heads.dtype) + turned * sin.to(heads.dtype)
