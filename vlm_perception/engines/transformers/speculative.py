"""Greedy decoding that verifies drafts: one decoder pass for as many tokens as were drafted rightly.

A pass reads the newest token and a draft of what follows it, and gives the model's own choice
after each of them; the pass that reads the prompt does the same with a draft of how the answer
begins. The draft is kept as far as it is what the model chose, plus the choice after
that; keys and values of the rest are cropped away. So the tokens are those of plain greedy
decoding whatever was drafted, and a pass with no draft is plain greedy decoding.

Source: "Fast Inference from Transformers via Speculative Decoding" (Leviathan et al., 2023), with
a draft that is a guess without a model, so that its acceptance is equality.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from operator import eq
from typing import Any

import torch

from vlm_perception.engines.drafting.drafter import Drafter
from vlm_perception.engines.transformers.prefill import PrefilledPrompt, run_decoder
from vlm_perception.engines.transformers.reply_stream import ReplyStream


def decode_speculatively(
    model: Any, prefilled: PrefilledPrompt, reply: ReplyStream, drafter: Drafter, *, max_new_tokens: int
) -> int:
    """Write one reply, greedily.

    Args:
        model: A model of the Qwen2.5-VL family, as transformers loads it.
        prefilled: The prompt as the model has read it, with a draft of `drafter`; its cache is used up.
        reply: Reads the tokens in order and tells when the reply is over.
        drafter: Proposes what follows.
        max_new_tokens: The reply has no more tokens than this, at least 1.

    Returns:
        Decoder passes, the prefill counted as one; the reply itself is in `reply`.
    """
    logits, draft, device = prefilled.logits, prefilled.draft, prefilled.logits.device
    written_count, passes = 0, 1
    while True:
        written = _read_agreed(logits, draft, reply, max_new_tokens - written_count)
        agreed = sum(map(eq, written, draft))  # only the last one can differ
        written_count += len(written)
        drafter.accept(written, agreed)
        if reply.over or written_count >= max_new_tokens:
            return passes
        prefilled.cache.crop(agreed - len(draft))
        draft = usable_draft(model, drafter, max_new_tokens - written_count)
        ids = torch.tensor([[written[-1], *draft]], device=device)
        # The cache holds every token but the newest one.
        start = prefilled.next_position + written_count - 1
        positions = torch.arange(start, start + ids.shape[1], device=device)[None]
        logits = run_decoder(model, ids, positions, prefilled.cache)[0]
        passes += 1


def _read_agreed(logits: torch.Tensor, draft: Sequence[int], reply: ReplyStream, room: int) -> list[int]:
    """Hand on the model's own choices until one is not what was drafted, the reply is over or `room` is full.

    Args:
        logits: (1 + drafted, vocabulary) float32; row i follows the first i tokens of the draft.
        draft: Tokens that were verified.
        reply: Reads the choices.
        room: How many it may read.
    """
    choices = logits.argmax(-1)
    logprobs = (logits.gather(-1, choices[:, None])[:, 0] - logits.logsumexp(-1)).tolist()
    written: list[int] = []
    for place, (choice, logprob) in enumerate(zip(choices.tolist(), logprobs, strict=True)):
        written.append(choice)
        if reply.read(choice, logprob) or len(written) == room:
            break
        if place == len(draft) or draft[place] != choice:
            break
    return written


def usable_draft(model: Any, drafter: Drafter, room: int) -> tuple[int, ...]:
    """Take a draft that fits, up to the first id that the model does not know.

    Args:
        model: As in `decode_speculatively`.
        drafter: Proposes it.
        room: How many tokens the reply may still have; one of them is the model's own choice.
    """
    limit, vocabulary = room - 1, model.get_input_embeddings().num_embeddings
    if limit <= 0:
        return ()
    return tuple(takewhile(lambda token: 0 <= token < vocabulary, drafter.propose(limit)[:limit]))
