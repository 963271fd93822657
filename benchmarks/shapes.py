"""Models of known shapes with random weights: what costs time costs it whatever the weights are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vlm_perception.startup.arguments import resolve_model

_ROTARY: dict[str, Any] = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1000000.0}
# Special tokens as models/tiny has them, whose tokenizer writes for all shapes.
_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model of the Qwen2.5-VL family.

    Attributes:
        name: What tables call it.
        text: Sizes of the decoder, as in a checkpoint's config.json.
        vision: Sizes of the vision tower, likewise.
        tied: Whether the head is the embedding.
    """

    name: str
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    tied: bool

    def cut(self, layers: int, blocks: int | None = None) -> Shape:
        """Take fewer layers of the decoder, and as few or so many blocks of the vision tower."""
        blocks = min(blocks or layers, self.vision["depth"])
        layers = min(layers, self.text["num_hidden_layers"])
        # The last block sees the whole image, as in the whole tower.
        whole = [place for place in self.vision["fullatt_block_indexes"] if place < blocks - 1]
        vision = {**self.vision, "depth": blocks, "fullatt_block_indexes": [*whole, blocks - 1]}
        name = f"{self.name}, {layers} layers"
        return replace(self, name=name, text={**self.text, "num_hidden_layers": layers}, vision=vision)

    def config(self, **text: Any) -> Qwen2_5_VLConfig:
        """Make transformers' configuration; `text` replaces sizes of the decoder."""
        tokens = {name: value for name, value in _tiny_config().items() if name in _TOKENS}
        config = Qwen2_5_VLConfig(text_config={**self.text, **text}, vision_config=dict(self.vision), **tokens)
        config.tie_word_embeddings = config.text_config.tie_word_embeddings = self.tied
        return config


# As published in the config.json of Qwen2.5-VL-3B-Instruct and Qwen2.5-VL-7B-Instruct.
SHAPE_3B = Shape(
    "3B",
    {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        "rope_parameters": _ROTARY,
    },
    {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "window_size": 112,
    },
    tied=True,
)
SHAPE_7B = Shape(
    "7B",
    {
        **SHAPE_3B.text,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    {**SHAPE_3B.vision, "out_hidden_size": 3584},
    tied=False,
)


def tiny_shape() -> Shape:
    """Return the shape of models/tiny."""
    config = _tiny_config()
    text = {name: config["text_config"][name] for name in SHAPE_3B.text}
    vision = {name: config["vision_config"][name] for name in SHAPE_3B.vision}
    return Shape("tiny shape", text, vision, tied=True)


def random_model(shape: Shape, device: str | torch.device = "cpu", dtype: torch.dtype = torch.bfloat16) -> Any:
    """Make a model; filled once, where and in the format it is kept, so that it needs no more memory than that.

    The same arguments give the same weights.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            model: Any = Qwen2_5_VLForConditionalGeneration(shape.config())
    finally:
        torch.set_default_dtype(before)
    model = model.to_empty(device=device).eval()
    model.tie_weights()
    numbers = torch.Generator(device).manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.02, generator=numbers)
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
        # Rotary frequencies stayed empty; they follow from the width of a head alone.
        narrow = shape.cut(1).config(intermediate_size=8, vocab_size=16)
        for name, buffer in Qwen2_5_VLForConditionalGeneration(narrow).named_buffers():
            model.get_buffer(name).copy_(buffer)
    return model


def _tiny_config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads((Path(resolve_model("tiny")) / "config.json").read_text(encoding="utf-8"))
    return config
