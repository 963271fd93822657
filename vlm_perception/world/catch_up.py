"""Carries the objects of a late answer from the frame that was asked about to the newest."""

from __future__ import annotations

from dataclasses import replace

from vlm_perception.types import Result
from vlm_perception.world.carrying import carry
from vlm_perception.world.followed import Sighting
from vlm_perception.world.kept_frames import KeptFrame, KeptFrames

# Of kept frames that are left out: every second one at 30 Hz costs nothing in places.
_STRIDE_S = 0.07


class CatchUp:
    """Objects of an answer on their way; needs no lock beside the tracker that goes on to take frames.

    Args:
        kept: The camera's, which go on to grow.
        asked: The frame that was asked about.
        result: The answer about it.

    Attributes:
        result: The same.
        sightings: Its objects, as far as they have got.
    """

    def __init__(self, kept: KeptFrames, asked: KeptFrame, result: Result) -> None:
        self.result = result
        self.sightings: tuple[Sighting, ...] = ()
        self._kept, self._asked = kept, asked
        self._at: KeptFrame | None = None

    def step(self) -> bool:
        """Carry them one kept frame on; slow. False when the newest is reached."""
        image_wh = self.result.request.frame.image_wh
        if self._at is None:
            self._at = self._asked
            self.sightings = tuple(Sighting.in_frame(each, self._asked, image_wh) for each in self.result.objects)
            return True
        at = self._kept.after(self._at.received_s, _STRIDE_S)
        if at is None:
            return False
        now = carry([each.now for each in self.sightings], self._at, at)
        moved = (replace(each, now=there) for each, there in zip(self.sightings, now, strict=True))
        self.sightings = tuple(
            replace(each, passed=(*each.passed, (at.received_s, each.placed(at, image_wh)))) for each in moved
        )
        self._at = at
        return True
