"""What the shipped checkpoint is, as its own files say, so that tests hold for each edition of it."""

from __future__ import annotations

import json

from checkout import TINY

_CONFIG = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
_FIGURES = json.loads((TINY / "figures.json").read_text(encoding="utf-8"))
_SIZE = json.loads((TINY / "processor_config.json").read_text(encoding="utf-8"))["image_processor"]["size"]

VISION_BLOCKS: int = _CONFIG["vision_config"]["depth"]
LAYERS: int = _CONFIG["text_config"]["num_hidden_layers"]
KEY_HEADS: int = _CONFIG["text_config"]["num_key_value_heads"]
HEAD_WIDTH: int = _CONFIG["text_config"]["hidden_size"] // _CONFIG["text_config"]["num_attention_heads"]
PARAMETERS: int = _FIGURES["parameters"]
# The smallest area that its processor lets through, square pixels.
SMALLEST_PX: int = _SIZE["shortest_edge"]
