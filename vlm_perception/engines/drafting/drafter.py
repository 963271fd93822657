"""Drafts of a reply, to be verified by the model: what makes decoding shorter without changing one token."""

from __future__ import annotations

import codecs
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vlm_perception.engines.drafting.continuation import ReplyContinuation
from vlm_perception.engines.drafting.motion import ObjectMotion
from vlm_perception.engines.drafting.template import read_template
from vlm_perception.types import WH, Request

LONGEST_DRAFT = 128
LONGEST_TOKEN = 16
MOST_PROMPTS = 64
# What one more token in a pass costs, in passes; benchmarks/pass_cost.py measures 0.03 to 0.07 for the tiny model.
TOKEN_COST = 0.05
# What a token counts once another one of its kind was verified.
FADING = 0.9


class Vocabulary(Protocol):
    """What drafts are written in."""

    @property
    def end_id(self) -> int:
        """The token that ends a reply."""
        ...

    def encode(self, text: str) -> Sequence[int]:
        """Return the ids of a text, no special ones added."""
        ...

    def bytes_of(self, token_id: int) -> bytes:
        """Return what an id writes."""
        ...


class Drafter(Protocol):
    """Proposes how one reply goes on; a new one for every reply.

    Whatever it proposes, the reply stays what the model writes: tokens that disagree are thrown away.
    """

    def propose(self, limit: int) -> Sequence[int]:
        """Propose the ids of the next tokens.

        Args:
            limit: How many can be used at most; more are cut off.
        """
        ...

    def accept(self, written: Sequence[int], agreed: int) -> None:
        """Learn what a pass has written, one token or more.

        Args:
            written: Ids that follow those of the passes before.
            agreed: How many of them had been proposed.
        """
        ...


class NoDraft:
    """Proposes nothing: plain greedy decoding."""

    def propose(self, limit: int) -> Sequence[int]:
        """See `Drafter.propose`."""
        return ()

    def accept(self, written: Sequence[int], agreed: int) -> None:
        """See `Drafter.accept`."""


class DraftLength:
    """How much of a draft is worth its while, from how it went so far.

    A token costs its share of a pass, and spares a pass when all before it and itself agree. So a
    draft goes on while the chance for that is above the cost. Digits of coordinates fail far more
    often than what stands between them, so both have their own record. Old passes fade.
    """

    def __init__(self) -> None:
        self._right = {True: 8.0, False: 16.0}
        self._wrong = {True: 1.0, False: 0.5}

    def worth(self, digits: Sequence[bool]) -> int:
        """How many of the tokens of a draft to verify, given which of them are digits."""
        chances = {kind: self._right[kind] / (self._right[kind] + self._wrong[kind]) for kind in (True, False)}
        reached = 1.0
        for place, kind in enumerate(digits):
            reached *= chances[kind]
            if reached < TOKEN_COST:
                return place
        return len(digits)

    def learn(self, digits: Sequence[bool], agreed: int) -> None:
        """Note how many tokens of a draft agreed; those behind the first that did not say nothing."""
        for place, kind in enumerate(digits[: agreed + 1]):
            self._right[kind] = self._right[kind] * FADING + (place < agreed)
            self._wrong[kind] = self._wrong[kind] * FADING + (place == agreed)


@dataclass(frozen=True, slots=True)
class _History:
    """What is kept of one prompt to one camera: the objects of its answers and how drafting went."""

    motion: ObjectMotion = field(default_factory=ObjectMotion)
    length: DraftLength = field(default_factory=DraftLength)


class DraftMemory:
    """The last answers to each prompt and camera, and drafts of the next one.

    Bounded: the 64 prompts asked last are kept, a few sightings of each object.

    Args:
        vocabulary: The model's.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._histories: OrderedDict[tuple[str, str, WH], _History] = OrderedDict()

    def drafter(self, request: Request, model_wh: WH) -> Drafter:
        """Make the drafter of one reply; `model_wh` is the size the model sees, pixels."""
        history = self._history(request, model_wh)
        expected = history.motion.expect(_stamp_s(request), model_wh)
        continuation = ReplyContinuation(expected, model_wh, request.prompt.targets)
        return ReplyDrafter(continuation, history.length, self._vocabulary)

    def remember(self, request: Request, model_wh: WH, text: str) -> None:
        """Keep a finished answer; those that were aborted say nothing about the next one."""
        self._history(request, model_wh).motion.tell(read_template(text), _stamp_s(request), model_wh)

    def forget(self) -> None:
        """Drop everything."""
        self._histories.clear()

    def _history(self, request: Request, model_wh: WH) -> _History:
        key = (request.frame.camera, request.prompt.instruction, model_wh)
        history = self._histories.setdefault(key, _History())
        self._histories.move_to_end(key)
        while len(self._histories) > MOST_PROMPTS:
            self._histories.popitem(last=False)
        return history


class ReplyDrafter:
    """Drafts one reply as text and hands it out as token ids; see `Drafter`.

    Args:
        continuation: Tells how the text goes on.
        length: How long drafts shall be.
        vocabulary: The model's.
    """

    def __init__(self, continuation: ReplyContinuation, length: DraftLength, vocabulary: Vocabulary) -> None:
        self._continuation, self._length, self._vocabulary = continuation, length, vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._digits: list[bool] = []

    def propose(self, limit: int) -> Sequence[int]:
        """See `Drafter.propose`."""
        self._digits = []
        if self._decoder.getstate()[0]:
            # In the middle of a character there is no text to go on from.
            return ()
        count = min(limit, LONGEST_DRAFT)
        text, ends = self._continuation.go_on()
        # Few tokens of a reply write more characters than this.
        ids = list(self._vocabulary.encode(text[: count * LONGEST_TOKEN])) if text else []
        draft = ([*ids, self._vocabulary.end_id] if ends else ids)[:count]
        digits = [self._vocabulary.bytes_of(token).isdigit() for token in draft]
        self._digits = digits[: self._length.worth(digits)]
        return draft[: len(self._digits)]

    def accept(self, written: Sequence[int], agreed: int) -> None:
        """See `Drafter.accept`."""
        self._length.learn(self._digits, agreed)
        self._digits = []
        self._continuation.feed(self._decoder.decode(b"".join(map(self._vocabulary.bytes_of, written))))


def _stamp_s(request: Request) -> float:
    header = request.frame.header
    return header.stamp_sec + 1e-9 * header.stamp_nanosec
