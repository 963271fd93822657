"""Untrained checkpoints of the families that take times in the prompt's text, small and in the hub's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    GenerationConfig,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from training.checkpoint import CHAT_TEMPLATE, SPECIAL_TOKENS, build_tokenizer

# As a checkpoint of the family states them, four cells at least, but small.
SIZE = {"shortest_edge": 4 * 32 * 32, "longest_edge": 64 * 32 * 32}
VISION = {
    "depth": 3,
    "hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 64,
    "out_hidden_size": 48,
    "patch_size": 16,
    "num_position_embeddings": 64,
}
TEXT = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "rope_parameters": {
        "rope_type": "default",
        "mrope_section": [4, 2, 2],
        "mrope_interleaved": True,
        "rope_theta": 10_000.0,
    },
}


def make_qwen3_vl(text: dict[str, Any], ids: dict[str, int]) -> Any:
    vision = {**VISION, "deepstack_visual_indexes": [0, 1]}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(vision_config=vision, text_config=text, **ids))


def make_qwen3_vl_moe(text: dict[str, Any], ids: dict[str, int]) -> Any:
    vision = {**VISION, "deepstack_visual_indexes": [0, 1]}
    config = transformers.Qwen3VLMoeConfig(vision_config=vision, text_config={**text, **EXPERTS}, **ids)
    return transformers.Qwen3VLMoeForConditionalGeneration(config)


# Two layers of four with recurrent state.
RECURRENT = {
    "layer_types": ["linear_attention", "full_attention"] * 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}


def make_qwen3_5(text: dict[str, Any], ids: dict[str, int]) -> Any:
    config = transformers.Qwen3_5Config(vision_config=VISION, text_config={**text, **RECURRENT}, **ids)
    return transformers.Qwen3_5ForConditionalGeneration(config)


def make_qwen3_5_moe(text: dict[str, Any], ids: dict[str, int]) -> Any:
    sizes = {**text, **RECURRENT, **EXPERTS}
    config = transformers.Qwen3_5MoeConfig(vision_config=VISION, text_config=sizes, **ids)
    return transformers.Qwen3_5MoeForConditionalGeneration(config)


MAKE: dict[str, Callable[[dict[str, Any], dict[str, int]], Any]] = {
    "qwen3_vl": make_qwen3_vl,
    "qwen3_vl_moe": make_qwen3_vl_moe,
    "qwen3_5": make_qwen3_5,
    "qwen3_5_moe": make_qwen3_5_moe,
}


def save(folder: Path, family: str) -> Path:
    """Save an untrained model in the hub's layout."""
    tokenizer = build_tokenizer(["red circle", '```json\n[{"bbox_2d": [1, 2, 3, 4]}]\n```'])
    special = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    end, pad = special["<|im_end|>"], special["<|endoftext|>"]
    ids = {
        f"{name}_token_id": special[f"<|{token}|>"]
        for name, token in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    torch.manual_seed(3)
    text = {**TEXT, "vocab_size": len(tokenizer), "eos_token_id": end, "pad_token_id": pad}
    model = MAKE[family](text, ids).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                # Wide enough that what is written depends on every part of the model.
                weight.normal_(0.0, 0.15)
    model.generation_config = GenerationConfig(eos_token_id=[end, pad], pad_token_id=pad, do_sample=False)
    model.save_pretrained(folder)
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=SIZE, patch_size=16),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(size=SIZE, patch_size=16),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    return folder
