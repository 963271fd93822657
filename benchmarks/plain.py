"""The same checkpoint in transformers' own unmodified way: what drafted decoding is held against.

Nothing of the engine is used: model and processor are loaded anew, and `generate` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from vlm_perception.engines.families import intersect_budgets
from vlm_perception.engines.transformers.detokenizer import Detokenizer
from vlm_perception.engines.transformers.vocabulary import ByteVocabulary
from vlm_perception.types import PixelBudget, Request, Token

# Plain and verified passes sum the same float32 numbers in another order.
TIE = 1e-4


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """What `generate` wrote.

    Attributes:
        ids: Generated ids.
        text: Its text, as the engine writes it.
        tokens: Its tokens with their log-probabilities, as the engine gives them; empty logits give zeros.
        gaps: Difference of the two highest logits at each token.
        passes: Decoder passes, the one that reads the prompt included.
    """

    ids: tuple[int, ...]
    text: str
    tokens: tuple[Token, ...]
    gaps: tuple[float, ...]
    passes: int


class PlainModel:
    """One model, asked by `generate`.

    Args:
        folder: Checkpoint.
        dtype: Number format of torch.
        device: Where it runs.
        model: Asked instead of the checkpoint's own, whose processor it takes.
    """

    def __init__(self, folder: str, dtype: str = "float32", device: str = "cpu", model: Any = None) -> None:
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        own = model or AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).to(device)
        self.model: Any = own.eval()
        self._passes = 0
        self.model.model.language_model.register_forward_hook(self._count)

    def prepare(self, request: Request) -> Any:
        """Build the inputs of one request."""
        own = self.processor.image_processor.size
        areas = intersect_budgets(request.budget, PixelBudget(own["shortest_edge"], own["longest_edge"]))
        content = [{"type": "image"}, {"type": "text", "text": request.prompt.instruction}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        size = {"shortest_edge": areas.min_pixels, "longest_edge": areas.max_pixels}
        return self.processor(text=[prompt], images=[request.frame.rgb], size=size, return_tensors="pt")

    # As `generate` itself is called: what it compiles takes no tensors of inference mode.
    @torch.no_grad()
    def answer(self, request: Request, *, logits: bool = False, **options: Any) -> PlainAnswer:
        """Answer one request greedily; `options` go to `generate`."""
        inputs = self.prepare(request).to(self.model.device)
        self._passes = 0
        written = self.model.generate(
            **inputs,
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=logits,
            **options,
        )
        ids = written.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        gaps, logprobs = [], [0.0] * len(ids)
        if logits:
            rows = torch.stack([row[0].float() for row in written.logits])
            top = rows.topk(2).values
            gaps = (top[:, 0] - top[:, 1]).tolist()
            chosen = torch.tensor(ids, device=rows.device)[:, None]
            logprobs = rows.log_softmax(-1).gather(-1, chosen)[:, 0].tolist()
        text, tokens = align_tokens(self.processor.tokenizer, ids, logprobs)
        return PlainAnswer(tuple(ids), text, tokens, tuple(gaps), self._passes)

    def _count(self, *_: object) -> None:
        self._passes += 1


def first_difference(text: str, tokens: tuple[Token, ...], plain: PlainAnswer) -> int | None:
    """Tell at which token an answer leaves the plain one; None when they are the same token for token."""
    mine = [(token.start, token.end, text[token.start : token.end]) for token in tokens]
    its = [(token.start, token.end, plain.text[token.start : token.end]) for token in plain.tokens]
    if mine == its:
        return None
    pairs = zip(mine, its, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(mine), len(its)))


def align_tokens(tokenizer: Any, ids: Sequence[int], logprobs: Iterable[float]) -> tuple[str, tuple[Token, ...]]:
    """Write a whole reply and tell which characters each of its tokens wrote.

    Args:
        tokenizer: A byte-level tokenizer, as the Qwen family has.
        ids: Generated token ids, without the prompt.
        logprobs: One natural log-probability per id.

    Returns:
        The text without chat control tokens, and one `Token` per id.
    """
    writing, vocabulary = Detokenizer(), ByteVocabulary(tokenizer)
    pieces = [writing.feed(vocabulary.bytes_of(each), logprob) for each, logprob in zip(ids, logprobs, strict=True)]
    pieces.append(writing.finish())
    return "".join(chunk for chunk, _ in pieces), tuple(token for _, tokens in pieces for token in tokens)
