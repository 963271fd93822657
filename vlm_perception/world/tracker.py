"""Follows the objects of one camera's answers from frame to frame, and gives them names that last.

An answer tells where things were in the frame that it was asked about, which is old by then. Its objects are
matched there with what is followed already, carried through the kept frames to the newest, and from then on to every
frame that comes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from vlm_perception.types import WH, DetectedObject, Frame, Move, Prompt, Result
from vlm_perception.world.carrying import carry
from vlm_perception.world.catch_up import CatchUp
from vlm_perception.world.followed import Followed, Sighting
from vlm_perception.world.kept_frames import KeptFrame, KeptFrames, shrink
from vlm_perception.world.matching import match
from vlm_perception.world.scene_cut import is_cut
from vlm_perception.world.tracks import Tracks

# After two answers without it a thing is lost: models miss one now and then.
_MOST_MISSED = 2
# Below this it is not told any more where a thing is.
_SHOWN = 0.4


@dataclass(slots=True)
class _Answer:
    """The answer about one frame as far as it is written: its objects' ids stay as it grows."""

    prompt: Prompt
    received_s: float
    objects: list[DetectedObject] = field(default_factory=list)


class Tracker:
    """Follows the objects of one camera; has no threads and no locks.

    Args:
        ids: Where new ids come from; shared by all cameras of a node, so that none repeats.
        lost_after_s: How long an object is known that was lost: hidden, gone, or left out by answers.
    """

    def __init__(self, ids: Iterator[int], lost_after_s: float) -> None:
        self._ids = ids
        self._lost_after_s = lost_after_s
        self._prompts: tuple[Prompt, ...] = ()
        self._followed: list[Followed] = []
        self._answers: dict[Prompt, _Answer] = {}
        self._kept = KeptFrames()
        self._cut_s = -math.inf
        self._image_wh: WH | None = None

    def set_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Say what is asked for now; what other prompts found is forgotten, and its ids never come back."""
        self._prompts = tuple(prompts)
        self._followed = [each for each in self._followed if each.prompt in self._prompts]
        self._answers = {prompt: answer for prompt, answer in self._answers.items() if prompt in self._prompts}

    def advance(self, frame: Frame) -> Tracks:
        """Carry every track to this frame.

        Args:
            frame: The next one of the camera; one that is not newer than the last moves nothing.

        Returns:
            What is followed, in pixels of this frame.
        """
        if self._image_wh not in (None, frame.image_wh):
            self._cut(frame.received_s)
        self._image_wh = frame.image_wh
        newest = self._kept.frames[-1] if self._kept.frames else None
        if newest is None or frame.received_s > newest.received_s:
            self._carry(newest, shrink(frame))
        shown = [each for each in self._followed if _is_shown(each)]
        return Tracks(
            header=frame.header,
            camera=frame.camera,
            received_s=frame.received_s,
            image_wh=frame.image_wh,
            tracks=tuple(each.told(frame.received_s) for each in shown),
        )

    def ask(self, frame: Frame) -> None:
        """Keep this frame's small copy until newer ones are old: the model has it now."""
        self._kept.ask(frame.received_s)

    def moves(self, frame: Frame, prompt: Prompt) -> tuple[Move, ...]:
        """Tell how far the objects of a prompt have come from where the model saw them last to this frame."""
        carried = (each for each in self._followed if each.prompt == prompt and _is_shown(each))
        return tuple(move for move in (each.moved_until(frame.received_s) for each in carried) if move)

    def identify(self, result: Result) -> Result:
        """Give the objects of an answer their ids; quick, looks at no pixels.

        Args:
            result: Whole, or the part that is written so far; what was named once keeps its name as more comes.

        Returns:
            The same with `DetectedObject.id` set. Objects of a prompt that is not asked for any more get ids that
            nothing follows.
        """
        prompt, frame = result.request.prompt, result.request.frame
        answer = self._answers.get(prompt)
        if answer is None or answer.received_s != frame.received_s:
            answer = _Answer(prompt, frame.received_s)
        named: list[DetectedObject | None] = [_take_id(thing, answer.objects) for thing in result.objects]
        taken = {thing.id for thing in named if thing is not None}
        free = [each for each in self._followed if each.prompt == prompt and each.thing.id not in taken]
        open_at = [index for index, thing in enumerate(named) if thing is None]
        there = [each.place_at(frame.received_s) for each in free]
        for known, found in match(there, [result.objects[index] for index in open_at], frame.image_wh):
            named[open_at[found]] = replace(result.objects[open_at[found]], id=free[known].thing.id)
        objects = tuple(
            replace(result.objects[index], id=self._new_id(prompt)) if thing is None else thing
            for index, thing in enumerate(named)
        )
        if prompt in self._prompts:
            self._answers[prompt] = replace(answer, objects=list(objects))
            if not result.partial:
                self._learn(replace(result, objects=objects))
        return replace(result, objects=objects)

    def start_catch_up(self, result: Result) -> CatchUp | None:
        """Begin to carry an answer's objects to the newest frame; quick.

        Args:
            result: As `identify` returned it.

        Returns:
            What is to be stepped, beside the frames' path; None where the asked frame is not kept.
        """
        asked = self._kept.at(result.request.frame.received_s)
        return None if asked is None else CatchUp(self._kept, asked, result)

    def finish_catch_up(self, catch_up: CatchUp) -> None:
        """Carry over the last frames and put the places into the tracks; quick."""
        while catch_up.step():
            pass
        if not self._kept.frames:
            return
        newest, asked_s = self._kept.frames[-1], catch_up.result.request.frame.received_s
        followed = {each.thing.id: each for each in self._followed}
        for sighting in catch_up.sightings:
            each = followed.get(sighting.thing.id)
            # The model may have seen it again meanwhile, and may go on to do so before each is caught up.
            if each is not None and asked_s > each.caught_up_s:
                self._take_over(each, sighting, catch_up, newest)

    def _cut(self, now_s: float) -> None:
        """Forget what was to be seen before this moment; answers about it that come later are not followed."""
        self._followed = []
        self._kept.clear()
        self._cut_s = now_s

    def _carry(self, before: KeptFrame | None, newest: KeptFrame) -> None:
        """Take every track to the newest frame."""
        if before is not None and is_cut(before, newest):
            self._cut(newest.received_s)
        self._kept.add(newest)
        going = [each for each in self._followed if each.sighting]
        if before is not None and going:
            now = carry([each.sighting.now for each in going if each.sighting], before, newest)
            for each, at in zip(going, now, strict=True):
                assert each.sighting is not None
                self._put(each, replace(each.sighting, now=at), newest)
        self._end_the_lost(newest.received_s)

    def _take_over(self, each: Followed, sighting: Sighting, catch_up: CatchUp, newest: KeptFrame) -> None:
        """Let a track go on from a later sighting, unless what it had is better borne out."""
        before, asked_s = each.sighting, catch_up.result.request.frame.received_s
        if before is not None and sighting.now.certainty < min(_SHOWN, before.now.certainty):
            return
        each.places = deque(((at_s, at) for at_s, at in each.places if at_s < asked_s), each.places.maxlen)
        each.places.extend(sighting.passed)
        each.caught_up_s = asked_s
        self._put(each, sighting, newest)

    def _put(self, each: Followed, sighting: Sighting, newest: KeptFrame) -> None:
        assert self._image_wh is not None
        each.sighting = sighting
        each.thing = _as_said(sighting.placed(newest, self._image_wh), each.thing)
        if each.places and each.places[-1][0] == newest.received_s:
            each.places.pop()
        each.places.append((newest.received_s, each.thing))

    def _new_id(self, prompt: Prompt) -> str:
        number = next(self._ids)
        return f"{prompt.id}/{number}" if prompt.id else str(number)

    def _learn(self, result: Result) -> None:
        """Take a whole answer's objects as sightings, and end what it left out."""
        prompt, frame = result.request.prompt, result.request.frame
        if frame.received_s < self._cut_s:
            return
        known = {each.thing.id: each for each in self._followed}
        for thing in result.objects:
            each = known.pop(thing.id, None)
            if each is None:
                each = Followed(thing, prompt, frame.header)
                self._followed.append(each)
            elif frame.received_s <= each.seen_s:
                continue
            else:
                each.thing = _as_said(each.thing, thing) if each.sighting else thing
            each.seen, each.missed = frame.header, 0
            each.seen_at.append((frame.received_s, thing))
        for each in known.values():
            # An answer that was cut off, or is older than the sighting, left nothing out.
            if each.prompt == prompt and frame.received_s > each.seen_s and not result.truncated:
                each.missed += 1
        self._end_the_lost(frame.received_s)

    def _end_the_lost(self, now_s: float) -> None:
        for each in self._followed:
            if not _is_lost(each):
                each.lost_s = None
            elif each.lost_s is None:
                each.lost_s = now_s
        self._followed = [
            each for each in self._followed if each.lost_s is None or now_s - each.lost_s < self._lost_after_s
        ]


def _take_id(thing: DetectedObject, before: Sequence[DetectedObject]) -> DetectedObject | None:
    """Name an object as an earlier part of the same answer did; None where that did not have it."""
    for each in before:
        if (each.label, each.span, each.xyxy, each.point_xy) == (thing.label, thing.span, thing.xyxy, thing.point_xy):
            return replace(thing, id=each.id)
    return None


def _as_said(there: DetectedObject, said: DetectedObject) -> DetectedObject:
    """Leave an object where it is, and say of it what the newest answer does."""
    return replace(
        there, label=said.label, score=said.score, attributes=said.attributes, text=said.text, kind=said.kind
    )


def _is_lost(each: Followed) -> bool:
    """Whether answers left it out, or it cannot be made out any more: it is not told, but known when it comes back."""
    return each.missed >= _MOST_MISSED or (each.sighting is not None and each.sighting.now.certainty < _SHOWN)


def _is_shown(each: Followed) -> bool:
    return each.sighting is not None and not _is_lost(each)
