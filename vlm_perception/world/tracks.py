"""What the tracker tells about one frame."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_perception.types import WH, XY, DetectedObject, FrameHeader, Prompt


@dataclass(frozen=True, slots=True)
class Track:
    """One object that is followed, where it is in one frame.

    Attributes:
        object: Its `id`, label and score, and its box, point or both in pixels of that frame.
        prompt: What asks for it.
        seen: Header of the frame in which the model saw it last.
        seen_age_s: From that frame's arrival to this one's, seconds; 0 where the model saw it in this one.
        certainty: How well the pixels bear its place out, 0 to 1; 1 where the model saw it in this frame.
        trail_xy: Where its centre was in the frames before, oldest first, pixels.
    """

    object: DetectedObject
    prompt: Prompt
    seen: FrameHeader
    seen_age_s: float
    certainty: float
    trail_xy: tuple[XY, ...] = ()

    @property
    def carried(self) -> bool:
        """Whether it is here because it was followed, not because the model saw it in this frame."""
        return self.seen_age_s > 0.0


@dataclass(frozen=True, slots=True)
class Tracks:
    """Every object that is followed in one frame of one camera.

    Attributes:
        header: The frame's own.
        camera: Resolved topic.
        received_s: The frame's arrival, monotonic seconds.
        image_wh: The frame's width and height, pixels.
        tracks: In the order in which they were found.
    """

    header: FrameHeader
    camera: str
    received_s: float
    image_wh: WH
    tracks: tuple[Track, ...]
