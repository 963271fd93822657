"""Which things of a glance are those that are remembered, which have moved, and which are not there any more.

One to one: finds near a remembered place with a name that fits; of the rest, what a late glance shows where a thing may
have been before is left out, and finds elsewhere are things that were asked for and whose place was in view and empty;
what is left of those is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vlm_perception.world.names import OTHER, asked_for, likeness, phrase_of
from vlm_perception.world.remembered import Glance, RememberedObject

# Of a large thing each view shows another part, whose middle lies elsewhere.
_SIZE_SHARE = 0.5
# How far a glance may be behind a thing's last sighting and still be about an earlier time; farther, the clock was set
# back, or a recording began again.
_LATE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Recognised:
    """What became of each find and of each thing that was in view; indices of both.

    Attributes:
        seen: (thing, find) at the same place.
        moved: (thing, find) of things whose old place is empty.
        new: Finds that nothing is known of.
        missed: Things that are not where they were, nor elsewhere; for each image once.
    """

    seen: tuple[tuple[int, int], ...]
    moved: tuple[tuple[int, int], ...]
    new: tuple[int, ...]
    missed: tuple[int, ...]


def recognise(known: Sequence[RememberedObject], glance: Glance, merge_distance_m: float) -> Recognised:
    """Compare a glance with what is remembered.

    Args:
        known: All that is remembered, in the glance's frame.
        glance: What was seen.
        merge_distance_m: Two sightings of one name are one thing when they are nearer than this, or than half of the
            larger one's longest side.
    """
    apart_m = _distances_m(known, glance)
    longest_m = np.maximum.outer(
        np.array([max(thing.size_m) for thing in known], np.float64),
        np.array([max(find.size_m) for find in glance.objects], np.float64),
    )
    reach_m = np.maximum(merge_distance_m, _SIZE_SHARE * longest_m)
    # Names first, then places: between two that are near, the one that is called so.
    near = _paired(known, glance, apart_m < reach_m, 1.0 - apart_m / (2.0 * reach_m))
    things, finds = {thing for thing, _ in near}, {find for _, find in near}
    finds |= _before_they_moved(known, glance, things, finds)
    empty = [
        index
        for index, thing in enumerate(known)
        if index not in things
        and glance.complete
        and not has_counted(glance, thing.last_seen_ns)
        and not has_counted(glance, thing.last_missed_ns)
        and asked_for(thing, glance.prompt)
        and glance.sees(thing)
    ]
    free = np.zeros(apart_m.shape, bool)
    free[empty] = True
    free[:, sorted(finds)] = False
    moved = _paired(known, glance, free, 1.0 / (1.0 + apart_m))
    things, finds = {thing for thing, _ in moved}, finds | {find for _, find in moved}
    return Recognised(
        near,
        moved,
        tuple(find for find in range(len(glance.objects)) if find not in finds),
        tuple(thing for thing in empty if thing not in things),
    )


def is_late(glance: Glance, thing: RememberedObject) -> bool:
    """Whether a glance is about a time before the thing's last sighting, as an answer about a kept image is."""
    return has_counted(glance, thing.last_seen_ns) and glance.stamp_ns != thing.last_seen_ns


def has_counted(glance: Glance, last_ns: int) -> bool:
    """Whether a glance is about the image of that stamp, which has counted already, or about an earlier one."""
    return 0 <= last_ns - glance.stamp_ns < _LATE_NS


def _before_they_moved(
    known: Sequence[RememberedObject], glance: Glance, things: set[int], finds: set[int]
) -> set[int]:
    """Return which finds may be things that have been seen elsewhere since.

    Of another camera that is so only where the thing's place was in view: it may have been there all the time, and a
    camera whose answers take longer than another's would never tell anything new.
    """
    late = [
        thing
        for index, thing in enumerate(known)
        if index not in things and is_late(glance, thing) and (thing.camera == glance.camera or glance.sees(thing))
    ]
    return {
        index
        for index, find in enumerate(glance.objects)
        if index not in finds
        and any(likeness(thing, find.label, phrase_of(find.label, glance.prompt)) > OTHER for thing in late)
    }


def _paired(
    known: Sequence[RememberedObject], glance: Glance, possible: NDArray[np.bool_], closeness: NDArray[np.float64]
) -> tuple[tuple[int, int], ...]:
    """Pair things and finds for the best sum of likeness times closeness (0..1, both (things, finds))."""
    phrases = [phrase_of(find.label, glance.prompt) for find in glance.objects]
    worth = np.zeros(possible.shape)
    # Names are compared where places leave it open: few of all pairs.
    for thing, find in zip(*np.nonzero(possible), strict=True):
        worth[thing, find] = likeness(known[thing], glance.objects[find].label, phrases[find]) * closeness[thing, find]
    rows = np.nonzero(worth.any(axis=1))[0]
    chosen, columns = linear_sum_assignment(worth[rows], maximize=True)
    pairs = zip(rows[chosen].tolist(), columns.tolist(), strict=True)
    return tuple((thing, find) for thing, find in pairs if worth[thing, find] > OTHER)


def _distances_m(known: Sequence[RememberedObject], glance: Glance) -> NDArray[np.float64]:
    places = np.array([thing.position_m for thing in known], np.float64).reshape(-1, 1, 3)
    found = np.array([find.position_m for find in glance.objects], np.float64).reshape(1, -1, 3)
    with np.errstate(over="ignore"):
        distances: NDArray[np.float64] = np.linalg.norm(places - found, axis=-1)
    return distances
