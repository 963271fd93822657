"""Qwen's real vocabulary, as the wheel `dashscope` ships it, in the layout of the hub, with a small untrained model."""

from __future__ import annotations

import base64
from functools import lru_cache
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import AddedToken
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from training.checkpoint import CHAT_TEMPLATE

# From 151643 on, as Qwen2.5-VL's tokenizer_config.json has them: those of chats and images, then those that a reply may
# hold as text.
CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PLAIN = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
# Rows of the published embeddings; those behind the last token write nothing.
ROWS = 151_936


@lru_cache(maxsize=1)
def read_ranks() -> dict[bytes, int]:
    """Each token's bytes and its id, which is the order in which it was merged."""
    path = Path(str(metadata.distribution("dashscope").locate_file("dashscope/resources/qwen.tiktoken")))
    pairs = (line.split() for line in path.read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def save(folder: Path) -> Path:
    """Save tokenizer, processor and model."""
    size = {"shortest_edge": 4 * 28 * 28, "longest_edge": 64 * 28 * 28}
    tokenizer = _tokenizer()
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    _model(tokenizer).save_pretrained(folder)
    return folder


def _tokenizer() -> Qwen2Tokenizer:
    ranks, character = read_ranks(), bytes_to_unicode()

    def written(token: bytes) -> str:
        return "".join(character[byte] for byte in token)

    vocabulary = {written(token): rank for token, rank in ranks.items()}
    merges = [tuple(map(written, _parts(token, ranks))) for token in ranks if len(token) > 1]
    # Its own end, <|endoftext|>, takes the first id behind the vocabulary.
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    tokenizer.add_tokens([AddedToken(name, normalized=False, special=True) for name in CONTROL])
    tokenizer.add_tokens([AddedToken(name, normalized=False, special=False) for name in PLAIN])
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def _parts(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, ...]:
    """Merge a token's bytes by all merges before its own: what is left are the two that it is made of."""
    parts = [token[place : place + 1] for place in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, ROWS) for left, right in pairwise(parts)]
        place = joined.index(min(joined))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return tuple(parts)


def _model(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    width, ids = 48, tokenizer.convert_tokens_to_ids
    torch.manual_seed(7)
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 64,
            "out_hidden_size": width,
            "fullatt_block_indexes": [1],
        },
        text_config={
            "vocab_size": ROWS,
            "hidden_size": width,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 1e6},
            "tie_word_embeddings": True,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                # Wide enough that what is written depends on every part of the model.
                weight.normal_(0.0, 0.15)
    ends = [ids("<|im_end|>"), ids("<|endoftext|>")]
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[1], do_sample=False)
    return model
