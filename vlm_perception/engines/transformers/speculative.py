"""Greedy decoding that verifies drafts: one decoder pass for as many tokens as were drafted rightly.

A pass reads what is known of each reply, its prompt's end or the newest token, and behind it a
draft of what follows; the model chooses a token behind each of them. The draft is kept as far as
it is what the model chose, plus the choice after that; the next pass writes over the rest. So the
tokens are those of plain greedy decoding whatever was drafted, and, as all passes have one shape
(see `decoder_pass.py`), to the last bit those of passes without a draft.

Source: "Fast Inference from Transformers via Speculative Decoding" (Leviathan et al., 2023), with
a draft that is a guess without a model, so that its acceptance is equality.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from operator import eq

from vlm_perception.engines.drafting.drafter import Drafter
from vlm_perception.engines.transformers.decoder_pass import LANES, Choice, Decoder, PassToken
from vlm_perception.engines.transformers.reply_stream import ReplyStream


@dataclass(frozen=True, slots=True)
class ReplyStart:
    """A reply before its first token.

    Attributes:
        slot: Where the decoder has loaded the prompt's beginning.
        place: How many tokens that has.
        position: Text position of the token behind it.
        instruction: The rest of the prompt, at least one token.
        reply: Reads the reply's tokens in order and tells when it is over.
        drafter: Proposes what follows.
        max_new_tokens: The reply has no more tokens than this, at least 1.
    """

    slot: int
    place: int
    position: int
    instruction: Sequence[int]
    reply: ReplyStream
    drafter: Drafter
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Written:
    """What writing a reply took; the reply itself is in its `ReplyStream`.

    Attributes:
        passes: Decoder passes, those that read the prompt counted as one; 0 if it was stopped before its first token.
        first_token_s: Seconds until its first token; 0 if there was none.
    """

    passes: int
    first_token_s: float


def decode_speculatively(decoder: Decoder, replies: Sequence[ReplyStart]) -> list[Written]:
    """Write replies, greedily, together; one that is over leaves its rows to the others.

    Args:
        decoder: Reads them.
        replies: What to write, each in a slot of its own.
    """
    began_s = time.perf_counter()
    writers = [_Writer(reply, decoder, began_s) for reply in replies]
    while going := [writer for writer in writers if not writer.over]:
        # Each sees its own bucket; those that are farther ahead, and those without a lane, wait for a pass of theirs.
        bucket = min(writer.bucket for writer in going)
        together = [writer for writer in going if writer.bucket == bucket][:LANES]
        shares = [
            decoder.shape.lane_rows * (LANES // len(together) + (index < LANES % len(together)))
            for index in range(len(together))
        ]
        tokens = [writer.next(share) for writer, share in zip(together, shares, strict=True)]
        choices = iter(decoder.read(list(chain.from_iterable(tokens))))
        for writer, share in zip(together, shares, strict=True):
            writer.take(list(islice(choices, share)))
    return [Written(writer.passes, writer.first_token_s) for writer in writers]


class _Writer:
    """One reply while it is written: what its next pass reads, and what it makes of the choices.

    Args:
        start: The reply.
        decoder: Reads it.
        began_s: When writing began.
    """

    def __init__(self, start: ReplyStart, decoder: Decoder, began_s: float) -> None:
        self._start, self._decoder, self._began_s = start, decoder, began_s
        self._place, self._position = start.place, start.position
        # Tokens that the model has not read yet, and guesses of those behind them.
        self._known, self._draft = list(start.instruction), tuple[int, ...]()
        self._read_count, self._written_count = 0, 0
        self.passes, self.first_token_s = 0, 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more is to be written."""
        return self._start.reply.over or self._written_count >= self._start.max_new_tokens

    @property
    def bucket(self) -> int:
        """How many places its next pass sees."""
        return self._decoder.shape.bucket_of(self._place)

    def next(self, rows: int) -> list[PassToken]:
        """Return the tokens of the next pass, filled up to `rows`; none that counts is behind the bucket."""
        room = min(rows, self.bucket - self._place)
        self._read_count = min(room, len(self._known))
        self._draft = ()
        if self._read_count == len(self._known):
            self._draft = self._usable_draft(room - self._read_count)
        ids = [*self._known[: self._read_count], *self._draft]
        ids += ids[-1:] * (rows - len(ids))
        place, position, slot = self._place, self._position, self._start.slot
        return [PassToken(token, place + row, position + row, slot) for row, token in enumerate(ids)]

    def take(self, choices: Sequence[Choice]) -> None:
        """Read what the model chose behind each of those tokens."""
        agreed = 0
        if self._read_count < len(self._known):
            self._known = self._known[self._read_count :]
            self._start.reply.asked_to_stop()
        else:
            if not self.passes:
                self.first_token_s = time.perf_counter() - self._began_s
            self.passes += 1
            written = self._read_agreed(choices[self._read_count - 1 :])
            agreed = sum(map(eq, written, self._draft))  # only the last one can differ
            self._written_count += len(written)
            self._start.drafter.accept(written)
            self._known = written[-1:]
        self._place += self._read_count + agreed
        self._position += self._read_count + agreed

    def _read_agreed(self, choices: Sequence[Choice]) -> list[int]:
        """Hand on the model's choices until one is not what was drafted, or the reply is over."""
        written: list[int] = []
        room = self._start.max_new_tokens - self._written_count
        for place, (choice, logprob) in enumerate(choices):
            written.append(choice)
            if self._start.reply.read(choice, logprob) or len(written) == room:
                break
            if place == len(self._draft) or self._draft[place] != choice:
                break
        return written

    def _usable_draft(self, rows: int) -> tuple[int, ...]:
        """Take a draft that fits, up to the first id that the model does not know."""
        # One of the tokens that the reply may still have is the model's own choice.
        limit = min(rows, self._start.max_new_tokens - self._written_count - 1)
        if limit <= 0:
            return ()
        draft = self._start.drafter.propose(limit)[:limit]
        return tuple(takewhile(lambda token: 0 <= token < self._decoder.vocabulary_size, draft))
