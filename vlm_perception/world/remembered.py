"""What the memory is told, one glance after the other, and what it tells; everything is in one fixed frame, metres."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from vlm_perception.types import Prompt
from vlm_perception.world.transforms import XYZ

MAX_CUTOUT_BYTES = 64 * 1024
# A stamp of ROS has 31 bits of seconds.
LATEST_NS = 2**31 * 10**9 - 1

Sees = Callable[["RememberedObject"], bool]


@dataclass(frozen=True, slots=True)
class PlacedObject:
    """One thing of one answer.

    Attributes:
        label: As the answer names it.
        position_m: Where it is, x, y, z in the glance's frame.
        size_m: Its seen extent along three axes; zeros for a point.
        score: 0 to 1; None where nobody knows.
        cutout_jpeg: What it looked like, at most `MAX_CUTOUT_BYTES`; None where there is no picture.

    Raises:
        ValueError: A number is not finite or out of its range, or the picture is too large.
    """

    label: str
    position_m: XYZ
    size_m: XYZ
    score: float | None = None
    cutout_jpeg: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.position_m)):
            raise ValueError(f"{self.label!r} is at {self.position_m}: give three finite numbers of metres")
        if not all(0.0 <= side < math.inf for side in self.size_m):
            raise ValueError(f"{self.label!r} has the size {self.size_m}: give three finite sides of 0 m or more")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"{self.label!r} has the score {self.score}: give 0 to 1, or None")
        if self.cutout_jpeg is not None and len(self.cutout_jpeg) > MAX_CUTOUT_BYTES:
            raise ValueError(
                f"the picture of {self.label!r} has {len(self.cutout_jpeg)} bytes, the limit is {MAX_CUTOUT_BYTES}: "
                f"make it smaller"
            )


@dataclass(frozen=True, slots=True)
class Glance:
    """What one answer says of space at one time.

    Attributes:
        frame_id: The frame that places are in; one that stands still, such as `map`.
        stamp_ns: The image's stamp, nanoseconds.
        camera: Resolved topic.
        prompt: What was asked.
        objects: What was found and has a place.
        sees: Tells of a thing whether its place was in view: inside of the image (and of the part of it that was
            asked about), within the reach of depth, and nothing nearer in front of it. Called within `Memory.look`.
        complete: Whether everything that was found is listed, with a place. Of what is not complete nothing can be
            missing: an answer that was cut off, or objects without a place.

    Raises:
        ValueError: The stamp is no time, or the frame has no name.
    """

    frame_id: str
    stamp_ns: int
    camera: str
    prompt: Prompt
    objects: tuple[PlacedObject, ...]
    sees: Sees
    complete: bool = True

    def __post_init__(self) -> None:
        if not self.frame_id:
            raise ValueError("frame_id is empty: name the frame that the places are in")
        if not 0 < self.stamp_ns <= LATEST_NS:
            raise ValueError(f"stamp_ns is {self.stamp_ns}: give 1 to {LATEST_NS}")


@dataclass(frozen=True, slots=True)
class RememberedObject:
    """One thing that is remembered.

    Attributes:
        id: Its own in this file, never given again.
        label: As the last answer named it.
        prompt: Text of the prompt that it was last found by.
        phrase: What of it the thing answers: "cup" of "cup; person"; empty where nobody knows.
        frame_id: The frame that its place is in.
        position_m: Where it was last seen, x, y, z.
        size_m: Its extent as last seen.
        belief: How sure it is still there, 0 to 1; see `world/belief.py`.
        best_score: Of all sightings; None where none had one.
        times_seen: In how many images it was found.
        times_missed: In how many it was asked for, its place in view, and not found.
        first_seen_ns: Stamp of the first image that showed it.
        last_seen_ns: Stamp of the last.
        camera: Whose image that was.
        has_cutout: Whether there is a picture of it: that of the sighting with the best score.
        last_missed_ns: Stamp of the last image in which it was missed; 0 where it never was.
    """

    id: int
    label: str
    prompt: str
    phrase: str
    frame_id: str
    position_m: XYZ
    size_m: XYZ
    belief: float
    best_score: float | None
    times_seen: int
    times_missed: int
    first_seen_ns: int
    last_seen_ns: int
    camera: str
    has_cutout: bool
    last_missed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """What one glance changed, each thing as it is afterwards.

    Attributes:
        new: Seen for the first time.
        seen: Seen again where they were; as they were before where the image had counted already.
        moved: Seen elsewhere, while their old place was in view and empty.
        missed: Not where they were; they have lost belief.
        gone: Forgotten: not found too often, or over the bound.
    """

    new: tuple[RememberedObject, ...] = ()
    seen: tuple[RememberedObject, ...] = ()
    moved: tuple[RememberedObject, ...] = ()
    missed: tuple[RememberedObject, ...] = ()
    gone: tuple[RememberedObject, ...] = ()

    def __bool__(self) -> bool:
        return any((self.new, self.seen, self.moved, self.missed, self.gone))
