"""Ids that last and tracks for the answers about a bag: what the node does by `tracking`, with nobody to wait for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from vlm_perception.types import Frame, Prompt, Result
from vlm_perception.world.tracker import Tracker
from vlm_perception.world.tracks import Tracks


class BagTracks:
    """Follows the objects of answers from frame to frame of a bag.

    Args:
        prompt: What is asked.
        lost_after_s: How long an object is known that was lost, seconds of the recording.
    """

    def __init__(self, prompt: Prompt, lost_after_s: float) -> None:
        self._prompt, self._lost_after_s = prompt, lost_after_s
        # One count for all bags, so that an id never means two things.
        self._ids = itertools.count(1)
        self._bag: Path | None = None
        self._tracker = self._new()

    def carry(self, bag: Path, frame: Frame) -> Tracks:
        """Carry what is followed to the next frame; another bag begins anew."""
        if bag != self._bag:
            self._bag, self._tracker = bag, self._new()
        return self._tracker.advance(frame)

    def learn(self, bag: Path, result: Result, recorded_ns: int) -> tuple[Result, Tracks]:
        """Take an answer about the next frame.

        Args:
            bag: Where the frame is from.
            result: The answer.
            recorded_ns: When the frame was recorded, nanoseconds.

        Returns:
            The answer with ids, and what is followed in its frame.
        """
        # As those that are carried have it; the engine's own are of this machine's clock.
        frame = replace(result.request.frame, received_s=recorded_ns * 1e-9)
        self.carry(bag, frame)
        named = self._tracker.identify(replace(result, request=replace(result.request, frame=frame)))
        catch_up = self._tracker.start_catch_up(named)
        if catch_up is not None:
            self._tracker.finish_catch_up(catch_up)
        return replace(named, request=result.request), self._tracker.advance(frame)

    def _new(self) -> Tracker:
        tracker = Tracker(self._ids, self._lost_after_s)
        tracker.set_prompts((self._prompt,))
        return tracker
