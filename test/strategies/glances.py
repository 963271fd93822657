"""What a memory of places is shown: `glance(2.0, cup(1.0), cup(2.0, score=0.4))`."""

from __future__ import annotations

from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Prompt
from vlm_perception.world.remembered import Glance, PlacedObject, RememberedObject, Sees

CUPS, ALL = build_prompt("cup"), build_prompt("all objects")
# Any day later than those of machines without a clock.
START_NS = 1_700_000_000 * 10**9


def placed(
    label: str,
    x: float = 0.0,
    y: float = 0.0,
    *,
    score: float | None = 0.7,
    side: float = 0.1,
    jpeg: bytes | None = None,
) -> PlacedObject:
    """Return a find at (x, y, 0), metres."""
    return PlacedObject(label, (x, y, 0.0), (side, side, side), score, jpeg)


def cup(x: float = 0.0, y: float = 0.0, *, score: float | None = 0.7, jpeg: bytes | None = None) -> PlacedObject:
    """Return a find of a cup."""
    return placed("cup", x, y, score=score, jpeg=jpeg)


def everything(thing: RememberedObject) -> bool:
    """See all places."""
    return True


def nothing(thing: RememberedObject) -> bool:
    """See no place: what is found is found, and nothing is missed."""
    return False


def glance(
    at_s: float,
    *objects: PlacedObject,
    prompt: Prompt = CUPS,
    sees: Sees = everything,
    complete: bool = True,
    frame_id: str = "map",
) -> Glance:
    """Return a glance so many seconds after the start."""
    return Glance(frame_id, START_NS + round(at_s * 1e9), "/image", prompt, objects, sees, complete)
