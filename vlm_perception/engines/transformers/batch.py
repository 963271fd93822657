"""Greedy decoding of several replies at once: one decoder pass writes a token of each.

Each prompt was read on its own (see `prefill.py`), so its keys and values, its logits and its first token are what they
are alone. Their caches are put side by side, the shorter ones filled up
on the left, where an attention mask hides the filling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from vlm_perception.engines.transformers.prefill import PrefilledPrompt, run_decoder, states_of
from vlm_perception.engines.transformers.reply_stream import ReplyStream

Row = tuple[PrefilledPrompt, ReplyStream, int]


def decode_batch(model: Any, rows: Sequence[Row]) -> list[int]:
    """Write several replies, greedily; a reply that is over leaves the batch and the others go on.

    Args:
        model: A model of the Qwen2.5-VL family, as transformers loads it.
        rows: For each reply its prompt as the model has read it, without a draft, whose cache is used up; what reads
            the tokens in order and tells when it is over; and how many tokens it may have, at least 1.

    Returns:
        Decoder passes that each reply took part in, its prefill counted as one.
    """
    passes = [1] * len(rows)
    if not rows:
        return passes
    going, written = list(range(len(rows))), 0
    logits = torch.cat([prefilled.logits for prefilled, _, _ in rows])
    cache, mask = _side_by_side([prefilled for prefilled, _, _ in rows])
    while True:
        choices = _read(logits, [rows[row][1] for row in going])
        written += 1
        left = [place for place, row in enumerate(going) if not rows[row][1].over and written < rows[row][2]]
        if not left:
            return passes
        if len(left) < len(going):
            kept = torch.tensor(left, device=mask.device)
            cache.batch_select_indices(kept)
            going, choices, mask = [going[place] for place in left], choices[kept], mask[kept]
        mask = torch.cat([mask, mask.new_ones(len(going), 1)], dim=1)
        positions = torch.tensor([[rows[row][0].next_position + written - 1] for row in going], device=mask.device)
        logits = run_decoder(model, choices[:, None], positions, cache, mask)[:, -1]
        for row in going:
            passes[row] += 1


def _read(logits: torch.Tensor, replies: Sequence[ReplyStream]) -> torch.Tensor:
    """Hand each reply the model's choice, from logits (rows, vocabulary) float32; return the choices, (rows,)."""
    choices = logits.argmax(-1)
    logprobs = logits.gather(-1, choices[:, None])[:, 0] - logits.logsumexp(-1)
    for reply, choice, logprob in zip(replies, choices.tolist(), logprobs.tolist(), strict=True):
        reply.read(choice, logprob)
    return choices


def _side_by_side(prefilled: Sequence[PrefilledPrompt]) -> tuple[DynamicCache, torch.Tensor]:
    """Join caches of different lengths, and mask what fills them up on the left; mask (rows, longest)."""
    lengths = [each.cache.get_seq_length() for each in prefilled]
    longest = max(lengths)
    gaps = [longest - length for length in lengths]
    cache = DynamicCache()
    for index, layer in enumerate(zip(*(states_of(each.cache) for each in prefilled), strict=True)):
        # Zeros before the tokens of (1, heads, tokens, size).
        filled = [[pad(states, (0, 0, gap, 0)) for states in row] for row, gap in zip(layer, gaps, strict=True)]
        keys, values = (torch.cat(states) for states in zip(*filled, strict=True))
        cache.update(keys, values, index)
    places = torch.arange(longest, device=prefilled[0].logits.device)
    mask = places[None] >= torch.tensor(gaps, device=places.device)[:, None]
    return cache, mask.long()
