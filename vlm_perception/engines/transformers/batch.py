"""Greedy decoding of several replies at once: one decoder pass writes a token of each.

Each question was read on its own (see `engines/transformers/prefill.py`), so its keys and values, its logits and its
first token are what they are alone. Their caches are put side by side, the shorter ones filled up
on the left, where an attention mask hides the filling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from vlm_perception.engines.transformers.prefill import Prefilled, states_of
from vlm_perception.engines.transformers.reply_stream import ReplyStream


def decode_batch(
    model: Any, prefilled: Sequence[Prefilled], replies: Sequence[ReplyStream], limits: Sequence[int]
) -> list[int]:
    """Write several replies, greedily; a reply that is over leaves the batch and the others go on.

    Args:
        model: A model of the Qwen2.5-VL family, as transformers loads it.
        prefilled: The questions as the model has read them, without drafts; their caches are used up.
        replies: Read the tokens in order and tell when they are over.
        limits: No reply has more tokens than its own, at least 1.

    Returns:
        Decoder passes that each reply took part in, its prefill counted as one.
    """
    passes = [1] * len(prefilled)
    if not prefilled:
        return passes
    rows = list(range(len(prefilled)))
    written = 0
    logits = torch.cat([question.logits for question in prefilled])
    cache, mask = _side_by_side(prefilled)
    while True:
        choices = _read(logits, [replies[row] for row in rows])
        written += 1
        going = [place for place, row in enumerate(rows) if not replies[row].over and written < limits[row]]
        if not going:
            return passes
        if len(going) < len(rows):
            kept = torch.tensor(going, device=mask.device)
            cache.batch_select_indices(kept)
            rows, choices, mask = [rows[place] for place in going], choices[kept], mask[kept]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        positions = torch.tensor([prefilled[row].next_position + written - 1 for row in rows], device=mask.device)
        logits = _step(model, choices, positions, mask, cache)
        for row in rows:
            passes[row] += 1


def _read(logits: torch.Tensor, replies: Sequence[ReplyStream]) -> torch.Tensor:
    """Hand each reply the model's choice, from logits (rows, vocabulary) float32; return the choices, (rows,)."""
    choices = logits.argmax(-1)
    logprobs = logits.gather(-1, choices[:, None])[:, 0] - logits.logsumexp(-1)
    for reply, choice, logprob in zip(replies, choices.tolist(), logprobs.tolist(), strict=True):
        reply.read(choice, logprob)
    return choices


def _side_by_side(prefilled: Sequence[Prefilled]) -> tuple[DynamicCache, torch.Tensor]:
    """Join caches of different lengths, and mask what fills them up on the left; mask (rows, longest)."""
    longest = max(question.length for question in prefilled)
    gaps = [longest - question.length for question in prefilled]
    cache = DynamicCache()
    for index, layer in enumerate(zip(*(states_of(question.cache) for question in prefilled), strict=True)):
        filled = [(_filled(keys, gap), _filled(values, gap)) for (keys, values), gap in zip(layer, gaps, strict=True)]
        cache.update(torch.cat([keys for keys, _ in filled]), torch.cat([values for _, values in filled]), index)
    places = torch.arange(longest, device=prefilled[0].logits.device)
    mask = places[None] >= torch.tensor(gaps, device=places.device)[:, None]
    return cache, mask.long()


def _filled(states: torch.Tensor, gap: int) -> torch.Tensor:
    """Put zeros before the tokens of (1, heads, tokens, size)."""
    return torch.nn.functional.pad(states, (0, 0, gap, 0))


def _step(
    model: Any, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """Run one pass over the newest token of each row; logits (rows, vocabulary) float32."""
    seen = model.model.language_model(
        input_ids=ids[:, None],
        # Behind the image, all three axes of the rotary position (time, height, width) count on together.
        position_ids=positions[None, :, None].expand(3, -1, -1),
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
    )
    logits: torch.Tensor = model.lm_head(seen.last_hidden_state)[:, -1].float()
    return logits
