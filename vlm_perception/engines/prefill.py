"""The pass that reads a question, before the first token of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import DynamicCache


@dataclass(frozen=True, slots=True)
class Prefilled:
    """A question as the model has read it, before its first answer token.

    Attributes:
        cache: Keys and values of all prompt tokens; owned by the answer, which appends and crops.
        logits: (vocabulary,) float32 of the last prompt position, unprocessed.
        length: Prompt tokens in the cache.
        next_position: Text position of the first answer token, the same in all three axes.
    """

    cache: DynamicCache
    logits: Tensor
    length: int
    next_position: int


def prefill(model: Any, inputs: Any) -> Prefilled:
    """Read one question.

    Args:
        model: A model of the Qwen2.5-VL family, as transformers loads it.
        inputs: What its processor makes of one prompt and one image.
    """
    seen = model(**inputs, use_cache=True, logits_to_keep=1)
    length = int(inputs["input_ids"].shape[1])
    # An image takes fewer positions than tokens: the rotary axes count its rows and columns.
    next_position = length + int(model.model.rope_deltas[0, 0])
    return Prefilled(seen.past_key_values, seen.logits[0, -1].float(), length, next_position)
