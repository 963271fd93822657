"""Drafts of a reply, to be verified by the model: what makes decoding shorter without changing one token."""

from __future__ import annotations

import codecs
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Protocol

from vlm_perception.engines.drafting.continuation import ReplyContinuation
from vlm_perception.engines.drafting.motion import ObjectMotion
from vlm_perception.engines.drafting.template import read_template
from vlm_perception.types import WH, Move, Request

LONGEST_TOKEN = 16
MOST_PROMPTS = 64


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

    def accept(self, written: Sequence[int]) -> None:
        """Learn what a pass has written, one token or more.

        Args:
            written: Ids that follow those of the passes before.
        """
        ...


class NoDraft:
    """Proposes nothing: plain greedy decoding."""

    def propose(self, limit: int) -> Sequence[int]:
        """See `Drafter.propose`."""
        return ()

    def accept(self, written: Sequence[int]) -> None:
        """See `Drafter.accept`."""


class DraftMemory:
    """The last answers to each prompt and camera, and drafts of the next one.

    Bounded: the 64 prompts asked last are kept, a few sightings of each object.

    Args:
        vocabulary: The model's.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._motions: OrderedDict[Hashable, ObjectMotion] = OrderedDict()

    def drafter(self, request: Request, model_wh: WH) -> Drafter:
        """Make the drafter of one reply; `model_wh` bounds the coordinates that the model writes."""
        moves = _in_coordinates(request, model_wh)
        expected = self._motion(request, model_wh).expect(_stamp_s(request), model_wh, moves)
        return ReplyDrafter(ReplyContinuation(expected, model_wh, request.prompt.targets), self._vocabulary)

    def remember(self, request: Request, model_wh: WH, text: str) -> None:
        """Keep a finished answer; those that were aborted say nothing about the next one."""
        self._motion(request, model_wh).tell(read_template(text), _stamp_s(request), model_wh)

    def forget(self) -> None:
        """Drop everything."""
        self._motions.clear()

    def _motion(self, request: Request, model_wh: WH) -> ObjectMotion:
        """Return what is known of the objects of one prompt to one camera."""
        # A closer look has another region each time, and what it is for mostly in the middle.
        place = request.look or request.prompt.region
        key = (request.frame.camera, request.prompt.instruction, place, model_wh)
        motion = self._motions.setdefault(key, ObjectMotion())
        self._motions.move_to_end(key)
        while len(self._motions) > MOST_PROMPTS:
            self._motions.popitem(last=False)
        return motion


class ReplyDrafter:
    """Drafts one reply as text and hands it out as token ids; see `Drafter`.

    Args:
        continuation: Tells how the text goes on.
        vocabulary: The model's.
    """

    def __init__(self, continuation: ReplyContinuation, vocabulary: Vocabulary) -> None:
        self._continuation, self._vocabulary = continuation, vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def propose(self, limit: int) -> Sequence[int]:
        """See `Drafter.propose`."""
        if self._decoder.getstate()[0]:
            # In the middle of a character there is no text to go on from.
            return ()
        text, ends = self._continuation.go_on()
        # Few tokens of a reply write more characters than this.
        ids = list(self._vocabulary.encode(text[: limit * LONGEST_TOKEN])) if text else []
        return ([*ids, self._vocabulary.end_id] if ends else ids)[:limit]

    def accept(self, written: Sequence[int]) -> None:
        """See `Drafter.accept`."""
        self._continuation.feed(self._decoder.decode(b"".join(map(self._vocabulary.bytes_of, written))))


def _stamp_s(request: Request) -> float:
    header = request.frame.header
    return header.stamp_sec + 1e-9 * header.stamp_nanosec


def _in_coordinates(request: Request, model_wh: WH) -> list[Move]:
    across, down = (model / image for model, image in zip(model_wh, request.frame.image_wh, strict=True))
    return [
        Move((move.from_xy[0] * across, move.from_xy[1] * down), (move.to_xy[0] * across, move.to_xy[1] * down))
        for move in request.moves
    ]
