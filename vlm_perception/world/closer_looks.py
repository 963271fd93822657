"""Which parts of an answered frame are worth a closer look, and what that changes of the answer.

A model sees a frame with fewer pixels than it has; things of a few of these are found badly and named worse. A closer
look asks the same about a part, which then has all the pixels. Things that are large enough keep their places exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlm_perception.types import WH, XY, XYXY, DetectedObject, Region
from vlm_perception.world.matching import match

# Square root of a box's area in pixels of what the model saw; `python -m benchmarks.zoom` measures by this size.
SMALL_PX = 16.0
# Below this score a thing is hardly sure; pictures show it faintly, too.
UNSURE_SCORE = 0.3
MOST_LOOKS = 2
# How large a small thing should become, by how much at most, and what share of what was seen a look may take in.
_CLEAR_PX = 32.0
_MOST_TIMES = 4.0
_MOST_SHARE = 0.5
# A thing fills half of its look's width and height at most; what comes as near to a cut edge as that is cut by it.
_ROOM = 2.0
_CUT_PX = 1.0
# Of two boxes' union, or of the smaller of one name, the share in both from which on they are taken for one thing.
_SAME_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class CloserLook:
    """A part to ask about again.

    Attributes:
        xyxy: Edges in image pixels.
        meant: Places, in the answer's list, of the things that it is for.
    """

    xyxy: XYXY
    meant: tuple[int, ...]

    @property
    def region(self) -> Region:
        """The part as a prompt names it."""
        return Region(self.xyxy, "px")


def plan_looks(objects: Sequence[DetectedObject], seen_xyxy: XYXY, model_wh: WH) -> tuple[CloserLook, ...]:
    """Choose parts around small and unsure things, those with the most of them first.

    Args:
        objects: What was found, in image pixels. A bare point has no size and is looked at when it is unsure.
        seen_xyxy: What the model saw of the image, image pixels.
        model_wh: How many pixels it saw of that.

    Returns:
        At most `MOST_LOOKS` parts inside of `seen_xyxy`, each of at most half its area.
    """
    seen_wh = (seen_xyxy[2] - seen_xyxy[0], seen_xyxy[3] - seen_xyxy[1])
    scale = (model_wh[0] / seen_wh[0], model_wh[1] / seen_wh[1])
    most_px2 = _MOST_SHARE * seen_wh[0] * seen_wh[1]
    looks: list[CloserLook] = []
    for index, found in enumerate(objects):
        place = _part_around(found, seen_xyxy, seen_wh, scale)
        if place is not None:
            looks.append(CloserLook(place, (index,)))
    while len(looks) > 1:
        joined = [
            (_area(both), i, j, both)
            for i in range(len(looks))
            for j in range(i + 1, len(looks))
            if _area(both := _union(looks[i].xyxy, looks[j].xyxy)) <= most_px2
        ]
        if not joined:
            break
        _, i, j, both = min(joined)
        looks[i] = CloserLook(both, looks[i].meant + looks.pop(j).meant)
    return tuple(sorted(looks, key=lambda look: (-len(look.meant), _area(look.xyxy))))[:MOST_LOOKS]


def merge_look(
    objects: Sequence[DetectedObject], look: CloserLook, closer: Sequence[DetectedObject], seen_xyxy: XYXY, image_wh: WH
) -> tuple[DetectedObject, ...]:
    """Put what a closer look found in the place of what was found before.

    Args:
        objects: What is known, in image pixels; only those that the look is for change, and the order stays.
        look: The part.
        closer: What was found in it, in image pixels.
        seen_xyxy: What was seen at first, image pixels; edges of the look inside of it cut things that are whole.
        image_wh: The image's size.

    Returns:
        As many objects as before, in their order, and behind them what is new.
    """
    now = [found for found in closer if not _is_cut(found, look.xyxy, seen_xyxy)]
    merged = list(objects)
    # By place alone: of small things the first answer knows the names worst.
    before = [objects[index] for index in look.meant]
    matched = match([replace(each, label="") for each in before], [replace(each, label="") for each in now], image_wh)
    for at, fresh in matched:
        # What it says of itself is finer now; where it stands in the first reply stays.
        known = before[at]
        merged[look.meant[at]] = replace(now[fresh], span=known.span, evidence=known.evidence, id=known.id)
    used = {fresh for _, fresh in matched}
    for index, found in enumerate(now):
        if index not in used and not any(_are_one(found, other) for other in merged):
            merged.append(found)
    return tuple(merged)


def _part_around(found: DetectedObject, seen_xyxy: XYXY, seen_wh: XY, scale: XY) -> XYXY | None:
    """Return the part to look at for one thing; None when it needs none."""
    unsure = found.score is not None and found.score < UNSURE_SCORE
    box = found.xyxy
    if box is None and found.point_xy is not None:
        box = (*found.point_xy, *found.point_xy)
    if box is None:
        return None
    width, height = box[2] - box[0], box[3] - box[1]
    size_px = math.sqrt(width * scale[0] * height * scale[1])
    if not unsure and (size_px >= SMALL_PX or found.xyxy is None):
        return None
    times = min(max(_CLEAR_PX / max(size_px, 1.0), 1 / math.sqrt(_MOST_SHARE)), _MOST_TIMES)
    part = (
        min(max(seen_wh[0] / times, _ROOM * width), seen_wh[0]),
        min(max(seen_wh[1] / times, _ROOM * height), seen_wh[1]),
    )
    if part[0] * part[1] > _MOST_SHARE * seen_wh[0] * seen_wh[1] * 1.001:
        return None
    sides = []
    for axis in (0, 1):
        middle = (box[axis] + box[axis + 2]) / 2
        start = min(max(middle - part[axis] / 2, seen_xyxy[axis]), seen_xyxy[axis + 2] - part[axis])
        sides.append((start, start + part[axis]))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def _is_cut(found: DetectedObject, look_xyxy: XYXY, seen_xyxy: XYXY) -> bool:
    """Whether an edge of the look, and none of what was seen at first, cuts a thing."""
    if found.xyxy is None:
        return False
    for edge in range(4):
        inner = abs(look_xyxy[edge] - seen_xyxy[edge]) > _CUT_PX
        reach = (look_xyxy[edge % 2 + 2] - look_xyxy[edge % 2]) / 100 + _CUT_PX
        if inner and abs(found.xyxy[edge] - look_xyxy[edge]) < reach:
            return True
    return False


def _are_one(a: DetectedObject, b: DetectedObject) -> bool:
    """Whether two boxes are taken for one thing, or one for a piece of the other where both have one name."""
    if a.xyxy is None or b.xyxy is None:
        return a.point_xy is not None and a.point_xy == b.point_xy
    width = min(a.xyxy[2], b.xyxy[2]) - max(a.xyxy[0], b.xyxy[0])
    height = min(a.xyxy[3], b.xyxy[3]) - max(a.xyxy[1], b.xyxy[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = _area(a.xyxy), _area(b.xyxy)
    # A cup on a plate lies inside of the plate's box, too.
    other = a.label.casefold() != b.label.casefold()
    return shared >= _SAME_SHARE * (sum(areas) - shared if other else min(areas))


def _union(a: XYXY, b: XYXY) -> XYXY:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _area(xyxy: XYXY) -> float:
    return (xyxy[2] - xyxy[0]) * (xyxy[3] - xyxy[1])
