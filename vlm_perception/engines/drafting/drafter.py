"""Drafts of a reply, to be verified by the model: what makes decoding shorter without changing one token."""

from __future__ import annotations

import codecs
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from vlm_perception.engines.drafting.continuation import ReplyWalk
from vlm_perception.engines.drafting.motion import Expected, ObjectTracks
from vlm_perception.engines.drafting.template import read_shape
from vlm_perception.types import WH, Request

LONGEST_DRAFT = 128
LONGEST_TOKEN = 16
MOST_THREADS = 64
# What one more token in a pass costs, in passes; benchmarks/pass_cost.py measures 0.03 to 0.07 for the tiny model.
TOKEN_COST = 0.05
# What a token counts once another one of its kind was verified.
FADING = 0.9


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


class Source(Enum):
    """Where drafts may come from."""

    MOTION = "motion"
    LAST = "last"
    GRAMMAR = "grammar"


ALL_SOURCES = frozenset(Source)


@dataclass(frozen=True, slots=True)
class _Thread:
    """What is kept of one question to one camera: the objects of its answers and how drafting went."""

    tracks: ObjectTracks = field(default_factory=ObjectTracks)
    length: DraftLength = field(default_factory=DraftLength)


class AnswerMemory:
    """The last answers to each question and camera, and drafts of the next one.

    Bounded: the 64 questions asked last are kept, a few sightings of each object.

    Args:
        encode: Token ids of a text, no special ones added.
        bytes_of: What a token id writes.
        end_id: The token that ends a reply.
        sources: Where drafts may come from; none for plain decoding.
    """

    def __init__(
        self,
        encode: Callable[[str], Sequence[int]],
        bytes_of: Callable[[int], bytes],
        end_id: int,
        sources: frozenset[Source] = ALL_SOURCES,
    ) -> None:
        self._encode, self._bytes_of, self._end_id, self._sources = encode, bytes_of, end_id, sources
        self._threads: OrderedDict[tuple[str, str, WH], _Thread] = OrderedDict()

    def drafter(self, request: Request, model_wh: WH) -> Drafter:
        """Make the drafter of one reply; `model_wh` is the size the model sees, pixels."""
        if not self._sources:
            return NoDraft()
        thread = self._thread(request, model_wh)
        walk = ReplyWalk(
            self._expected(thread, request, model_wh),
            model_wh,
            Source.GRAMMAR in self._sources,
            request.prompt.targets,
        )
        return AnswerDrafter(walk, thread.length, self._encode, self._bytes_of, self._end_id)

    def remember(self, request: Request, model_wh: WH, text: str) -> None:
        """Keep a finished answer; those that were aborted say nothing about the next one."""
        self._thread(request, model_wh).tracks.tell(read_shape(text), _stamp_s(request), model_wh)

    def _thread(self, request: Request, model_wh: WH) -> _Thread:
        key = (request.frame.camera, request.prompt.instruction, model_wh)
        thread = self._threads.setdefault(key, _Thread())
        self._threads.move_to_end(key)
        while len(self._threads) > MOST_THREADS:
            self._threads.popitem(last=False)
        return thread

    def _expected(self, thread: _Thread, request: Request, model_wh: WH) -> Expected | None:
        if Source.MOTION in self._sources:
            return thread.tracks.expect(_stamp_s(request), model_wh)
        last = thread.tracks.last
        return Expected(last) if last and Source.LAST in self._sources else None


class AnswerDrafter:
    """Drafts one reply as text and hands it out as token ids; see `Drafter`.

    Args:
        walk: Tells how the text goes on.
        length: How long drafts shall be.
        encode: Token ids of a text.
        bytes_of: What a token id writes.
        end_id: The token that ends a reply.
    """

    def __init__(
        self,
        walk: ReplyWalk,
        length: DraftLength,
        encode: Callable[[str], Sequence[int]],
        bytes_of: Callable[[int], bytes],
        end_id: int,
    ) -> None:
        self._walk, self._length = walk, length
        self._encode, self._bytes_of, self._end_id = encode, bytes_of, end_id
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._digits: list[bool] = []

    def propose(self, limit: int) -> Sequence[int]:
        """See `Drafter.propose`."""
        self._digits = []
        if self._decoder.getstate()[0]:
            # In the middle of a character there is no text to go on from.
            return ()
        count = min(limit, LONGEST_DRAFT)
        text, ends = self._walk.go_on()
        # Few tokens of a reply write more characters than this.
        ids = list(self._encode(text[: count * LONGEST_TOKEN])) if text else []
        draft = ([*ids, self._end_id] if ends else ids)[:count]
        digits = [self._bytes_of(token).isdigit() for token in draft]
        self._digits = digits[: self._length.worth(digits)]
        return draft[: len(self._digits)]

    def accept(self, written: Sequence[int], agreed: int) -> None:
        """See `Drafter.accept`."""
        self._length.learn(self._digits, agreed)
        self._digits = []
        self._walk.feed(self._decoder.decode(b"".join(map(self._bytes_of, written))))


def _stamp_s(request: Request) -> float:
    header = request.frame.header
    return header.stamp_sec + 1e-9 * header.stamp_nanosec
