"""Short clips in which something happens, with what happened and when: things move, come and leave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vlm_perception.scenes.draw import Scene, render
from vlm_perception.scenes.spec import ObjectSpec, SceneSpec, random_scene

Direction = Literal["left", "right", "up", "down"]
What = Literal["moves", "comes", "leaves"]
DIRECTIONS: tuple[Direction, ...] = ("left", "right", "up", "down")
_KINDS: tuple[What, ...] = ("moves", "comes", "leaves")
_STEPS: dict[Direction, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
# Smaller things would be less than two tokens of a clip's small frames.
_MIN_SIDE = 0.12
_SHORTEST_S, _LONGEST_S = 1.0, 2.5
# How far a thing goes that stays in view, fraction of the image's width or height.
_NEAREST, _FARTHEST = 0.25, 0.5
_MAX_EVENTS = 2


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened.

    Attributes:
        label: Colour and kind of the thing; no other thing of the clip has it.
        what: It moves and stays in view, comes into view, or leaves it.
        direction: Which way it goes, as the camera sees it.
        start_s: When it begins to move, seconds after the clip's first frame; when it is first seen, if it comes.
        end_s: When it stops, or is out of view.
    """

    label: str
    what: What
    direction: Direction
    start_s: float
    end_s: float


class DrawnClip:
    """A clip; the same arguments give the same one.

    Args:
        rng: Source of chance.
        image_wh: Camera image size in pixels.
        duration_s: How long it is, seconds; 1.5 or more.

    Attributes:
        happenings: What happens, by time.
        still: Labels of what stays where it is and that nothing else has.
    """

    def __init__(self, rng: np.random.Generator, image_wh: tuple[int, int], duration_s: float) -> None:
        self._image_wh = image_wh
        spec = random_scene(rng, image_wh, int(rng.integers(1, 6)))
        labels = [item.label for item in spec.objects]
        still = [i for i in spec.objects if i.side >= _MIN_SIDE and labels.count(i.label) == 1]
        wanted = int(rng.choice(_MAX_EVENTS + 1, p=(0.15, 0.65, 0.2)))
        chosen = [still[int(place)] for place in rng.permutation(len(still))[:wanted]]
        # What moves is drawn last: it passes in front of the others.
        self._spec = replace(spec, objects=tuple(item for item in spec.objects if item not in chosen))
        self._moving = [_Path.drawn(rng, item, image_wh, duration_s) for item in chosen]
        moved = [item.label for item in chosen]
        self.still = [label for label in labels if labels.count(label) == 1 and label not in moved]
        self.happenings = tuple(sorted((path.happening for path in self._moving), key=lambda one: one.start_s))

    def spec_at(self, time_s: float) -> SceneSpec:
        """What stands where `time_s` seconds after the first frame."""
        return replace(self._spec, objects=self._spec.objects + tuple(path.at(time_s) for path in self._moving))

    def at(self, time_s: float) -> Scene:
        """Draw the frame of `time_s` seconds after the first one."""
        return render(self.spec_at(time_s), self._image_wh)


@dataclass(frozen=True, slots=True)
class _Path:
    """A thing on a straight way at constant speed; it stands still before and after."""

    item: ObjectSpec
    to_xy: tuple[float, float]
    happening: Happening

    @classmethod
    def drawn(cls, rng: np.random.Generator, item: ObjectSpec, image_wh: tuple[int, int], duration_s: float) -> _Path:
        what = _KINDS[int(rng.integers(3))]
        direction = DIRECTIONS[int(rng.integers(4))]
        axis = 0 if direction in ("left", "right") else 1
        forward = sum(_STEPS[direction])
        half = item.half_wh(image_wh)[axis] / image_wh[axis]
        room = 1 - 2 * half
        far = float(rng.uniform(_NEAREST, _FARTHEST))
        inner = half + float(rng.uniform(0, 1)) * max(0.0, room - min(far, room))
        near, away = inner, inner + min(far, room)
        # Away from the border that it goes to, or comes from, it stands anywhere.
        if what != "moves":
            stands = half + float(rng.uniform(0.1, 0.9)) * room
            outside = (1 + half * 1.1) if (forward > 0) == (what == "leaves") else -half * 1.1
            near, away = sorted((stands, outside))
        start, end = (near, away) if forward > 0 else (away, near)
        takes_s = float(rng.uniform(_SHORTEST_S, min(_LONGEST_S, duration_s - 0.5)))
        start_s = float(rng.uniform(0.25, duration_s - takes_s - 0.25)) if duration_s - takes_s > 0.5 else 0.25
        place = [item.cx, item.cy]
        places = []
        for value in (start, end):
            place[axis] = value
            places.append((place[0], place[1]))
        happening = Happening(item.label, what, direction, start_s, start_s + takes_s)
        # Turned, or with a shadow, it would reach into view before its time.
        return cls(replace(item, cx=places[0][0], cy=places[0][1], angle_deg=0.0, shadow=0), places[1], happening)

    def at(self, time_s: float) -> ObjectSpec:
        one = self.happening
        share = min(1.0, max(0.0, (time_s - one.start_s) / (one.end_s - one.start_s)))
        return replace(
            self.item,
            cx=self.item.cx + share * (self.to_xy[0] - self.item.cx),
            cy=self.item.cy + share * (self.to_xy[1] - self.item.cy),
        )
