"""One object that is followed through a camera's frames, and what is known of it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from vlm_perception.types import WH, XY, DetectedObject, FrameHeader, Move, Prompt
from vlm_perception.world.boxes import box_of
from vlm_perception.world.carrying import Carried, pick_up
from vlm_perception.world.kept_frames import KeptFrame
from vlm_perception.world.places import centre_of, half_of, moved, placed
from vlm_perception.world.tracks import Track

_TRAIL = 30
_PLACES = 512
# Velocity tells no more than this many times the span that it was measured over.
_MOST_AHEAD = 2.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object as the model saw it, and where it has got to since.

    Attributes:
        thing: In pixels of the frame that was asked about.
        now: How it is carried.
        passed: Where it was on the way, by the frames' arrival.
    """

    thing: DetectedObject
    now: Carried
    passed: tuple[tuple[float, DetectedObject], ...] = ()

    @classmethod
    def in_frame(cls, thing: DetectedObject, asked: KeptFrame, image_wh: WH) -> Sighting:
        """Begin to carry what the model saw in this frame."""
        xyxy = box_of(thing, image_wh)
        return cls(thing, pick_up(asked, centre_of(xyxy) / asked.scale, half_of(xyxy) / asked.scale))

    def placed(self, at: KeptFrame, image_wh: WH) -> DetectedObject:
        """Give the object in pixels of the frame that it was carried to."""
        return placed(self.thing, centre_of(box_of(self.thing, image_wh)), self.now, at.scale, image_wh)


@dataclass(slots=True)
class Followed:
    """One object that is followed.

    Attributes:
        thing: Where it is in the newest frame once it is carried; until then where the model saw it.
        prompt: What asks for it.
        seen: Header of the frame in which the model saw it last.
        seen_at: The last of its answers, by their frames' arrival.
        places: Where it was in earlier frames, by their arrival.
        sighting: What it is carried from; None until its first answer is caught up.
        caught_up_s: Arrival of that sighting's frame.
        missed: Answers in a row that left it out.
        lost_s: Since when it is lost; None while it is not.
    """

    thing: DetectedObject
    prompt: Prompt
    seen: FrameHeader
    seen_at: deque[tuple[float, DetectedObject]] = field(default_factory=lambda: deque(maxlen=3))
    places: deque[tuple[float, DetectedObject]] = field(default_factory=lambda: deque(maxlen=_PLACES))
    sighting: Sighting | None = None
    caught_up_s: float = -math.inf
    missed: int = 0
    lost_s: float | None = None

    @property
    def seen_s(self) -> float:
        """Arrival of the frame in which the model saw it last."""
        return self.seen_at[-1][0]

    def place_at(self, received_s: float) -> DetectedObject:
        """Tell where it was in the frame that came then: as it was followed, else at its last velocity."""
        if self.places and self.places[0][0] <= received_s:
            return min(self.places, key=lambda place: abs(place[0] - received_s))[1]
        (before_s, before), (last_s, last) = self.seen_at[0], self.seen_at[-1]
        span_s = last_s - before_s
        if span_s <= 0.0:
            return last
        share = min(max(received_s - last_s, -span_s), _MOST_AHEAD * span_s) / span_s
        (x0, y0), (x1, y1) = _centre_xy(before), _centre_xy(last)
        return moved(last, lambda at: (at[0] + share * (x1 - x0), at[1] + share * (y1 - y0)))

    def moved_until(self, received_s: float) -> Move | None:
        """Tell how far it has come since the model saw it last; None where it was not followed all the way."""
        if not self.places or self.places[0][0] > self.seen_s:
            return None
        x, y = _centre_xy(self.seen_at[-1][1])
        (x0, y0), (x1, y1) = (_centre_xy(self.place_at(at_s)) for at_s in (self.seen_s, received_s))
        return Move((x, y), (x + x1 - x0, y + y1 - y0))

    def told(self, now_s: float) -> Track:
        """Tell where it is in the newest frame, which came now."""
        carried = self.sighting is not None and now_s > self.seen_s
        return Track(
            object=self.thing,
            prompt=self.prompt,
            seen=self.seen,
            seen_age_s=max(now_s - self.seen_s, 0.0),
            certainty=self.sighting.now.certainty if self.sighting and carried else 1.0,
            trail_xy=tuple(_centre_xy(place) for _, place in list(self.places)[-_TRAIL - 1 : -1]),
        )


def _centre_xy(thing: DetectedObject) -> XY:
    centre = centre_of(box_of(thing, (0, 0)))
    return centre.real, centre.imag
