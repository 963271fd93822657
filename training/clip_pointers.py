"""Where in a clip to look while saying what happened: at the thing as it begins to move, on its way, when it stopped.

Of a clip a small decoder soon learns what is in it, and late what moves: few words of a reply depend on it. Shown where
to look, it has the times to read where it looks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.dense_targets import DenseTargets, covered_by, moving_pairs
from vlm_perception.scenes.clips import Happening

_CLOCK = r"\d\d:\d\d\.\d\d"
# Of `mm:ss.ff`, what differs between the times of a clip of a few seconds: the seconds, and their half.
_TELLING = (4, 6)
# One thing that happened, to the end of its sentence or of its entry in a list.
_TOLD = re.compile(rf"(?P<start>{_CLOCK})\D*(?P<end>{_CLOCK})[^.。}}]*[.。}}]")


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a thing is as it begins to move, halfway and once it has stopped: pair of frames and image token of each.

    That it is about to stop cannot be known from the frames before; of what leaves the image, the last sight is meant.
    """

    start: tuple[int, int]
    middle: tuple[int, int]
    end: tuple[int, int]


def sight_of(one: Happening, dense: DenseTargets) -> Sight | None:
    """Find the pairs of frames in which a thing is seen to move, and its place in them.

    Args:
        one: What it does.
        dense: Of the clip's pairs, (pairs, tokens).

    Returns:
        None where it is never seen to move, as it does so between two pairs.
    """
    mine, pairs = covered_by(dense, one.label), moving_pairs(dense, one.label)
    if not pairs:
        return None

    def token(pair: int) -> tuple[int, int]:
        # A thing that is half out of view may have its centre there.
        centre = (mine[pair] & (dense.is_centre[pair] > 0)).nonzero().flatten().tolist()
        covered = mine[pair].nonzero().flatten().tolist()
        return pair, centre[0] if centre else covered[len(covered) // 2]

    after = pairs[-1] + 1
    has_stopped = after < len(mine) and bool(mine[after].any())
    return Sight(token(pairs[0]), token(pairs[len(pairs) // 2]), token(after if has_stopped else pairs[-1]))


def places_to_look(
    reply: str, sights: Sequence[tuple[int, int, int] | None], null: int
) -> tuple[NDArray[np.int64], list[int]]:
    """Say character by character where to look.

    Args:
        reply: What is said of the clip.
        sights: Image token at start, middle and end of each thing that happens, in the order of the reply; None for
            one that is not seen.
        null: Token to look at where nothing (more) happens.

    Returns:
        (characters,) image tokens, -1 for what is not seen; and the characters that tell times apart.
    """
    looks, telling, at = np.full(len(reply), null, np.int64), list[int](), 0
    for seen, told in zip(sights, _TOLD.finditer(reply), strict=True):
        start, middle, end = seen or (-1, -1, -1)
        looks[at : told.end()] = middle
        for name, token in (("start", start), ("end", end)):
            looks[told.start(name) : told.end(name)] = token
            telling += [told.start(name) + place for place in _TELLING]
        at = told.end()
    return looks, telling
