"""Tokenizer, processors and untrained models of the tiny checkpoints, and how all three are saved."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.image_utils import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD

from vlm_perception.types import PixelBudget

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# The fixed parts of an object are one token each: a small decoder spends its passes on the digits.
STRUCTURE_TOKENS = ('{"bbox_2d": [', '{"point_2d": [', '], "label": "', '", "sub_label": "', '], "text_content": "')
VOCAB_SIZE = 1024
# Area bounds of the processed image: 4:3 becomes 336x252, 16:9 392x224, square 280x280. At 224x168, the first edition's
# size, two of twelve things often shared one image token, and small ones had 8 pixels.
PIXELS = PixelBudget(30_000, 90_000)
# The same image tokens, of 32 pixels instead of 28: 384x288, 448x256, 320x320.
QWEN3_VL_PIXELS = PixelBudget(39_200, 117_600)
# What some scenes, and the frames of clips, are seen at: 224x168, 252x140, 196x196 and their like.
SMALL_PIXELS = {"Qwen2.5-VL": PixelBudget(30_000, 196 * 196), "Qwen3-VL": PixelBudget(39_200, 224 * 224)}
# Of Qwen2.5-VL's axis of time, as its own checkpoints have it: frames of half a second are one apart. At 4 a pair is 2
# to 4 radians from the next on the axis's frequencies, and its time was not learned.
TICKS_PER_S = 2
_WIDTH = 256
SYSTEM = "You are a helpful assistant."
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\\n" + SYSTEM + "<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}"
    "{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part['type'] == 'video' or 'video' in part -%}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}"
    "{%- elif 'text' in part -%}"
    "{{- part['text'] -}}"
    "{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def build_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with Qwen's special tokens; digits stay single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # A capital that begins no word is a letter on a cart, one token each.
            pre_tokenizers.Split(Regex(r"JSON|\p{N}|\p{Lu}(?!\p{Ll})| ?\p{L}+|[^\p{L}\p{N}]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(STRUCTURE_TOKENS),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    # The structure tokens are cut out before the merges apply, so they are cut out of the corpus too.
    structure = re.compile("|".join(map(re.escape, STRUCTURE_TOKENS)))
    tokenizer.train_from_iterator((part for text in corpus for part in structure.split(text)), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in STRUCTURE_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t not in ("<|im_end|>", "<|endoftext|>")],
        model_max_length=4096,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast, pixels: PixelBudget = PIXELS) -> Qwen2_5_VLProcessor:
    """Wrap the tokenizer with Qwen's image processor at these bounds of the processed image's area."""
    size = {"shortest_edge": pixels.min_pixels, "longest_edge": pixels.max_pixels}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size),
        chat_template=CHAT_TEMPLATE,
    )


def build_qwen3_vl_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLProcessor:
    """As `build_processor`, with Qwen3-VL's patches and its own mean and deviation."""
    size = {"shortest_edge": QWEN3_VL_PIXELS.min_pixels, "longest_edge": QWEN3_VL_PIXELS.max_pixels}
    seen = {"image_mean": IMAGENET_STANDARD_MEAN, "image_std": IMAGENET_STANDARD_STD}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, patch_size=16, **seen),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(size=size, patch_size=16, **seen),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLForConditionalGeneration:
    """An untrained Qwen2.5-VL of about 6.7 million parameters.

    The rotary base is 30, not 10,000: with 16 frequencies a head, Qwen's base leaves the columns
    of a grid of ten tokens all but indistinguishable, and places are never learned.
    """
    width = _WIDTH
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 4,
            "hidden_size": 192,
            "num_heads": 6,
            "intermediate_size": 384,
            "out_hidden_size": width,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [0, 1, 2, 3],
            "tokens_per_second": TICKS_PER_S,
        },
        text_config={
            **_decoder(tokenizer, width),
            "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 30.0},
        },
        **_vision_ids(tokenizer),
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = _generation(tokenizer)
    return model


def build_qwen3_vl(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    """An untrained Qwen3-VL of about 7.6 million parameters: as `build_model`, with what the family has in addition.

    The learned positions of the vision tower begin as waves of rows and columns (A. Vaswani et al., "Attention is
    all you need", 2017), so that "where" is there to be read from the first step on.
    """
    width, side = _WIDTH, 16
    config = Qwen3VLConfig(
        vision_config={
            "depth": 4,
            "hidden_size": 192,
            "num_heads": 6,
            "intermediate_size": 576,
            "out_hidden_size": width,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": side * side,
            "deepstack_visual_indexes": [1],
        },
        text_config={
            **_decoder(tokenizer, width),
            "head_dim": 32,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
                "rope_theta": 30.0,
            },
        },
        **_vision_ids(tokenizer),
        tie_word_embeddings=True,
    )
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config = _generation(tokenizer)
    with torch.no_grad():
        model.model.visual.pos_embed.weight.copy_(_waves(side, config.vision_config.hidden_size))
    return model


def _waves(side: int, width: int) -> torch.Tensor:
    """(side * side, width) sines and cosines of row and column, half a turn to `side` / 2 turns a side."""
    turns = torch.logspace(-1, torch.log2(torch.tensor(side / 2)).item(), width // 4, base=2.0)
    angle = torch.linspace(0, 1, side)[:, None] * turns * 2 * torch.pi
    axis = 0.3 * torch.cat([angle.sin(), angle.cos()], dim=1)
    rows, columns = axis.repeat_interleave(side, dim=0), axis.repeat(side, 1)
    return torch.cat([rows, columns], dim=1)


def _decoder(tokenizer: PreTrainedTokenizerFast, width: int) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 512,
        "num_hidden_layers": 7,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }


def _vision_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }


def _generation(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    end, pad = (tokenizer.convert_tokens_to_ids(text) for text in ("<|im_end|>", "<|endoftext|>"))
    return GenerationConfig(bos_token_id=pad, eos_token_id=[end, pad], pad_token_id=pad, do_sample=False)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Save everything `from_pretrained` needs, weights as safetensors."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
