"""What happens around a `generate` call: stopping it, and reading its tokens back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from vlm_perception.engines.base import ShouldStop
from vlm_perception.types import Token

# What a decoder writes for bytes that are no character (yet).
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class PrefillStopped(Exception):  # noqa: N818 - a way out, not a failure
    """`should_stop` became true before the first token; never leaves the engine."""


class StopWhenTold(StoppingCriteria):  # type: ignore[misc, unused-ignore]
    """Ends a generation after the decoder pass in which `should_stop` became true.

    Attributes:
        told: Whether it was.
    """

    def __init__(self, should_stop: ShouldStop) -> None:
        self._should_stop = should_stop
        self.told = False

    def asked(self) -> bool:
        """Ask now, and remember."""
        self.told = self.told or self._should_stop()
        return self.told

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Tell transformers which rows are done, shape (batch,)."""
        return torch.full((input_ids.shape[0],), self.asked(), dtype=torch.bool, device=input_ids.device)


class LogprobRecorder(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Records each chosen token's log-probability from the unprocessed logits.

    Keeping all logits until the end would take 0.6 GB for a thousand tokens of a real vocabulary;
    this keeps one row, because the next pass tells which token was chosen from it.
    """

    def __init__(self) -> None:
        self._logits: torch.Tensor | None = None
        self._logprobs: list[float] = []

    @property
    def began(self) -> bool:
        """Whether the first pass is over."""
        return self._logits is not None or bool(self._logprobs)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Note the logits of this pass, shape (1, vocabulary), and return them untouched."""
        self._settle(int(input_ids[0, -1]))
        self._logits = scores[0].float().clone()
        return scores

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Return one natural log-probability per generated token id."""
        if ids and len(self._logprobs) < len(ids):
            self._settle(ids[-1])
        return self._logprobs[: len(ids)]

    def _settle(self, chosen: int) -> None:
        if self._logits is not None:
            self._logprobs.append(float(self._logits[chosen] - self._logits.logsumexp(-1)))
            self._logits = None


@contextmanager
def stoppable_prefill(model: torch.nn.Module, stop: StopWhenTold, recorder: LogprobRecorder) -> Iterator[None]:
    """Ask for a stop before every layer of the first pass, which reads the whole image.

    That pass takes seconds for a large model on a slow machine, far longer than those after it.

    Raises:
        PrefillStopped: Told to stop before the first token.
    """

    def check(*_: object) -> None:
        if not recorder.began and stop.asked():
            raise PrefillStopped

    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    hooks = [layer.register_forward_pre_hook(check) for stack in stacks for layer in stack]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def align_tokens(tokenizer: Any, ids: Sequence[int], logprobs: Sequence[float]) -> tuple[str, tuple[Token, ...]]:
    """Decode generated ids and tell which characters each of them wrote.

    Args:
        tokenizer: A byte-level tokenizer, as the Qwen family has.
        ids: Generated token ids, without the prompt.
        logprobs: One natural log-probability per id.

    Returns:
        The text without special tokens, and one `Token` per id. Tokens that share a character of
        several bytes all span it; special tokens span nothing.
    """
    special = set(tokenizer.all_special_ids)
    text = ""
    tokens: list[Token] = []
    first = 0
    for index in range(len(ids)):
        piece = _decode(tokenizer, ids[first : index + 1])
        # An unfinished character ends in the replacement sign: wait for its other bytes.
        if piece.endswith(_REPLACEMENT) and index + 1 < len(ids):
            continue
        for token_id, logprob in zip(ids[first : index + 1], logprobs[first : index + 1], strict=True):
            end = len(text) if token_id in special else len(text) + len(piece)
            tokens.append(Token(len(text), end, logprob))
        text, first = text + piece, index + 1
    return text, tuple(tokens)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
