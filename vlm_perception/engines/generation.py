"""What happens around a `generate` call: reading its tokens as they come, and ending it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from vlm_perception.engines.base import OnText, ShouldStop
from vlm_perception.engines.token_text import Piece, TokenText
from vlm_perception.repetition import RepetitionWatch
from vlm_perception.types import FinishReason, Token


class PrefillStopped(Exception):  # noqa: N818 - a way out, not a failure
    """`should_stop` became true before the first token; never leaves the engine."""


class LogprobRecorder(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Keeps the unprocessed logits of the newest pass until it is known which token was chosen.

    Keeping those of all passes would take 0.6 GB for a thousand tokens of a real vocabulary.

    Attributes:
        began: Whether the first pass is over.
    """

    def __init__(self) -> None:
        self.began = False
        self._logits: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Note the logits of this pass, shape (1, vocabulary), and return them untouched."""
        self.began = True
        self._logits = scores[0].float().clone()
        return scores

    def settle(self, chosen: int) -> float:
        """Return the natural log-probability of the token that was chosen from the newest pass."""
        if self._logits is None:
            raise RuntimeError("no pass since the last token; call this once after each pass")
        logprob = float(self._logits[chosen] - self._logits.logsumexp(-1))
        self._logits = None
        return logprob


class ReplyReader(StoppingCriteria):  # type: ignore[misc, unused-ignore]
    """Reads one reply while it is generated; transformers calls it after each decoder pass.

    It hands on every piece of text at once, and ends the generation in the same pass in which
    `should_stop` became true or a repetition loop became certain.

    Args:
        writing: Makes text of the tokens.
        recorder: Has the logits of the pass.
        end_ids: Tokens that end a reply.
        should_stop: See `Engine.answer`.
        on_text: See `Engine.answer`.
    """

    def __init__(
        self,
        writing: TokenText,
        recorder: LogprobRecorder,
        end_ids: Collection[int],
        should_stop: ShouldStop,
        on_text: OnText,
    ) -> None:
        self._writing, self._recorder, self._end_ids = writing, recorder, end_ids
        self._should_stop, self._on_text = should_stop, on_text
        self._watch = RepetitionWatch()
        self._chunks: list[str] = []
        self._tokens: list[Token] = []
        self._reason: FinishReason | None = None

    def asked_to_stop(self) -> bool:
        """Ask `should_stop` now, and remember."""
        if self._reason is None and self._should_stop():
            self._reason = "aborted"
        return self._reason == "aborted"

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Read the newest token of `input_ids`, shape (1, length), and tell whether the reply is over, shape (1,)."""
        # On some devices transformers looks at the verdict one pass late: what comes after the end is no answer.
        if self._reason is None:
            self._read(int(input_ids[0, -1]))
        return torch.full((input_ids.shape[0],), self._reason is not None, dtype=torch.bool, device=input_ids.device)

    def finish(self) -> tuple[str, tuple[Token, ...], FinishReason]:
        """End the reply.

        Returns:
            Text, tokens and why it ended; without another reason it has reached its length limit.
        """
        self._hand_on(self._writing.finish())
        return "".join(self._chunks), tuple(self._tokens), self._reason or "length"

    def _read(self, token_id: int) -> None:
        piece = self._writing.feed(token_id, self._recorder.settle(token_id))
        self._hand_on(piece)
        if token_id in self._end_ids:
            self._reason = "stop"
        elif not self.asked_to_stop() and self._watch.feed(piece[0]):
            self._reason = "repetition"

    def _hand_on(self, piece: Piece) -> None:
        chunk, tokens = piece
        if chunk or tokens:
            self._chunks.append(chunk)
            self._tokens += tokens
            self._on_text(chunk, tokens)


@contextmanager
def stoppable_prefill(model: torch.nn.Module, reply: ReplyReader, recorder: LogprobRecorder) -> Iterator[None]:
    """Ask for a stop before every layer of the first pass, which reads the whole image.

    That pass takes seconds for a large model on a slow machine, far longer than those after it.

    Raises:
        PrefillStopped: Told to stop before the first token.
    """

    def check(*_: object) -> None:
        if not recorder.began and reply.asked_to_stop():
            raise PrefillStopped

    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    hooks = [layer.register_forward_pre_hook(check) for stack in stacks for layer in stack]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
