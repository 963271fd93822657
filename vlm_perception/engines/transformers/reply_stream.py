"""What happens around the decoder passes of one reply: reading its tokens as they come, and ending it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch

from vlm_perception.engines.base import OnText, ShouldStop
from vlm_perception.engines.repetition import RepetitionWatch
from vlm_perception.engines.transformers.detokenizer import Detokenizer, Piece
from vlm_perception.engines.transformers.vocabulary import ByteVocabulary
from vlm_perception.types import FinishReason, Token


class PrefillStopped(Exception):  # noqa: N818 - a way out, not a failure
    """`should_stop` became true before the first token; never leaves the engine."""


class ReplyStream:
    """Reads one reply while it is generated.

    It hands on every piece of text at once, and tells that the reply is over with the very token
    after which `should_stop` became true or a repetition loop became certain.

    Args:
        vocabulary: Of the model.
        end_ids: Tokens that end a reply.
        should_stop: See `Engine.answer`.
        on_text: See `Engine.answer`.
    """

    def __init__(
        self, vocabulary: ByteVocabulary, end_ids: Collection[int], should_stop: ShouldStop, on_text: OnText
    ) -> None:
        self._detokenizer, self._vocabulary, self._end_ids = Detokenizer(), vocabulary, end_ids
        self._should_stop, self._on_text = should_stop, on_text
        self._watch = RepetitionWatch()
        self._chunks: list[str] = []
        self._tokens: list[Token] = []
        self._reason: FinishReason | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more is to be read."""
        return self._reason is not None

    def asked_to_stop(self) -> bool:
        """Ask `should_stop` now, and remember."""
        if self._reason is None and self._should_stop():
            self._reason = "aborted"
        return self._reason == "aborted"

    def read(self, token_id: int, logprob: float) -> bool:
        """Read the next token, with its natural log-probability from the unprocessed logits.

        Returns:
            Whether the reply is over; what comes after that is no answer and is not read.

        Raises:
            FloatingPointError: The log-probability is not a number, so the token means nothing.
        """
        if not math.isfinite(logprob):
            raise FloatingPointError(f"the model computed {logprob} instead of a probability")
        if self._reason is None:
            piece = self._detokenizer.feed(self._vocabulary.bytes_of(token_id), logprob)
            self._hand_on(piece)
            if token_id in self._end_ids:
                self._reason = "stop"
            elif not self.asked_to_stop() and self._watch.feed(piece[0]):
                self._reason = "repetition"
        return self.over

    def finish(self) -> tuple[str, tuple[Token, ...], FinishReason]:
        """End the reply.

        Returns:
            Text, tokens and why it ended; without another reason it has reached its length limit.
        """
        self._hand_on(self._detokenizer.finish())
        return "".join(self._chunks), tuple(self._tokens), self._reason or "length"

    def _hand_on(self, piece: Piece) -> None:
        chunk, tokens = piece
        if chunk or tokens:
            self._chunks.append(chunk)
            self._tokens += tokens
            self._on_text(chunk, tokens)


@contextmanager
def stoppable_prefill(model: torch.nn.Module, reply: ReplyStream) -> Iterator[None]:
    """Ask for a stop before every layer of the passes inside this block, which read the image and the prompt.

    That takes seconds for a large model on a slow machine, far longer than the passes after it.

    Raises:
        PrefillStopped: Told to stop before the first token.
    """

    def check(*_: object) -> None:
        if reply.asked_to_stop():
            raise PrefillStopped

    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    hooks = [layer.register_forward_pre_hook(check) for stack in stacks for layer in stack]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
