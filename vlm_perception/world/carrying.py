"""Carries objects from one kept frame to the next.

Two ways see a thing's motion, and each frame the one that proves better is taken for each thing: its remembered look
(`alignment`), which suits what keeps its shape, and the flow of its points (`flow`), which suits what deforms. Where
neither sees it, it is thought to go on as before against the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlm_perception.world.alignment import Complexes, Patch, align, offsets_of, take_patch, weights_of
from vlm_perception.world.flow import fit, follow, grid
from vlm_perception.world.kept_frames import KeptFrame
from vlm_perception.world.silhouette import find_silhouette

_BACKGROUND_WH = (10, 6)
_LEAST_BACKGROUND = 6.0
_MOST_TURN = 0.12
# What share of its pixels must look as remembered, and of its points go together, for a motion to be believed.
_ALIKE = 0.6
_TOGETHER = 0.3
# Points whose motion is within this of the background's are more often behind the thing than on it.
_LIKE_BACKGROUND_PX = 0.5
_BEHIND_WEIGHT = 0.25
# A change of motion within one frame, in pixels and in sizes of the thing, that is another's, which came before it.
_SUDDEN_PX, _SUDDEN_SIZES = 15.0, 4.5
_UNSURE_FRAMES = 3
# What is left of the belief in an object each time that its look is learnt anew, without the model.
_LEARNT_ANEW = 0.97
_BY_FLOW = 0.8
# What is not seen: its own motion, and the belief in it, fade to this in a second.
_MOTION_FADES = 0.2
_BELIEF_FADES = 0.3
_SMALLEST_HALF_PX = 2.0
# Of what has no known outline: right for round things, and for long ones after a quarter of a turn.
_ELLIPSE: Complexes = np.exp(2j * np.pi * np.arange(32) / 32)


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """One object in one kept frame; places are complex, x + iy, in pixels of kept frames.

    Attributes:
        half: Half width and half height of its box in the frame where the model saw it.
        outline: (m,) corners of the thing in half sides of its box: -1 to 1 in x and y.
        centre: Of the box now.
        turn: Its scaling and rotation since then.
        patch: Its look.
        light: That it was last seen in, as `Patch.light`.
        velocity: Against the background, pixels a second.
        certainty: How well the pixels bear it out, 0 to 1.
        belief: The most that they can bear it out, less each time that its look was learnt anew.
        unsure: Frames in a row in which its look was not found.
        hidden: Whether its points were lost too: what is seen there now may be another thing, until its look is found.
    """

    half: complex
    outline: Complexes
    centre: complex
    turn: complex
    patch: Patch
    light: complex
    velocity: complex = 0j
    certainty: float = 1.0
    belief: float = 1.0
    unsure: int = 0
    hidden: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Motion:
    """Where objects are by one way of seeing: (n,) centres and turns, and whether it saw them."""

    centres: Complexes
    turns: Complexes
    seen: NDArray[np.bool_]


def pick_up(frame: KeptFrame, centre: complex, half: complex) -> Carried:
    """Begin to carry what the model saw in this frame; box in pixels of the kept frame."""
    half = complex(max(half.real, _SMALLEST_HALF_PX), max(half.imag, _SMALLEST_HALF_PX))
    silhouette = find_silhouette(frame.rgb, centre, half)
    patch = take_patch(frame.rgb.astype(np.float32), offsets_of(half), weights_of(silhouette), centre, 1.0)
    return Carried(half, _ELLIPSE if silhouette is None else silhouette.outline, centre, 1.0, patch, patch.light)


def carry(things: Sequence[Carried], before: KeptFrame, after: KeptFrame) -> list[Carried]:
    """Carry objects on by one kept frame.

    Args:
        things: Where they are in `before`.
        before: The kept frame that they are in.
        after: A later one of the same size.

    Returns:
        The same objects in `after`.
    """
    if not things:
        return []
    span_s = max(after.received_s - before.received_s, 1e-3)
    still, ahead, flow = _see_motion(things, before, after, span_s)
    rgb = after.rgb.astype(np.float32)
    centres, turns, lights, alike = align(
        rgb,
        [each.patch for each in things],
        np.stack([np.where(flow.seen, flow.centres, ahead.centres), ahead.centres]),
        np.stack([np.where(flow.seen, flow.turns, ahead.turns), ahead.turns]),
        np.array([each.light for each in things]),
    )
    carried = []
    for index, each in enumerate(things):
        if alike[index] > _ALIKE:
            centre, turn = centres[index], turns[index]
            there = replace(
                each,
                light=complex(lights[index]),
                certainty=each.belief * min(float(alike[index]), 1.0),
                unsure=0,
                hidden=False,
            )
        elif flow.seen[index]:
            centre, turn = flow.centres[index], flow.turns[index]
            there = replace(each, certainty=each.belief * _BY_FLOW, unsure=each.unsure + 1)
            if there.unsure >= _UNSURE_FRAMES:
                patch = take_patch(rgb, each.patch.offsets, each.patch.weights, centre, turn)
                there = replace(there, patch=patch, light=patch.light, belief=each.belief * _LEARNT_ANEW, unsure=0)
        else:
            centre, turn = ahead.centres[index], ahead.turns[index]
            there = replace(each, certainty=each.certainty * _BELIEF_FADES**span_s, hidden=True)
        if alike[index] > _ALIKE or flow.seen[index]:
            velocity = (each.velocity + (centre - still[index]) / span_s) / 2
        else:
            velocity = each.velocity * _MOTION_FADES**span_s
        carried.append(replace(there, centre=complex(centre), turn=complex(turn), velocity=complex(velocity)))
    return carried


def _see_motion(
    things: Sequence[Carried], before: KeptFrame, after: KeptFrame, span_s: float
) -> tuple[Complexes, _Motion, _Motion]:
    """Follow points of the objects and of the background, all at once.

    Returns:
        (n,) where the objects were if they stayed with the background, where they are if they go on as before, and
        where their points went.
    """
    centres, turns = np.array([each.centre for each in things]), np.array([each.turn for each in things])
    sizes = np.array([each.patch.size for each in things]) * np.abs(turns)
    points = centres[:, None] + turns[:, None] * np.stack([each.patch.points for each in things])
    halves = np.array([each.half for each in things]) * np.abs(turns)
    background = _background_points(centres, halves, before.grey.shape)
    moved, followed = follow(before.grey, after.grey, np.concatenate([points.ravel(), background]))
    weights = followed.astype(np.float64)

    scene_turn, scene_shift, along = fit(
        background[None], moved[None, points.size :], weights[None, points.size :], most_turn=_MOST_TURN
    )
    seen_scene = along.sum() >= _LEAST_BACKGROUND
    turn, shift = (complex(scene_turn[0]), complex(scene_shift[0])) if seen_scene else (1.0 + 0.0j, 0.0j)
    still: Complexes = turn * centres + shift
    ahead: Complexes = still + np.array([each.velocity for each in things]) * span_s

    there, weights = moved[: points.size].reshape(points.shape), weights[: points.size].reshape(points.shape)
    if seen_scene:
        against = np.abs(there - turn * points - shift) / _LIKE_BACKGROUND_PX
        weights = weights * (1.0 - (1.0 - _BEHIND_WEIGHT) * np.exp(-(against**2)))
    own_turn, own_shift, together = fit(points, there, weights, most_turn=_MOST_TURN)
    share = (together > 0.5 * np.maximum(weights, 1e-9)).mean(-1)
    by_flow = own_turn * centres + own_shift
    sudden = np.abs(by_flow - ahead) > (_SUDDEN_PX + _SUDDEN_SIZES * sizes) * span_s
    seen = (share > _TOGETHER) & (weights.sum(-1) > 2.0) & ~sudden & ~np.array([each.hidden for each in things])
    always = np.ones(len(things), bool)
    return still, _Motion(ahead, turn * turns, always), _Motion(by_flow, own_turn * turns, seen)


def _background_points(centres: Complexes, halves: Complexes, shape: tuple[int, ...]) -> Complexes:
    """Lay a grid over the picture, without what the boxes cover."""
    points = grid(shape, _BACKGROUND_WH)
    away = points[:, None] - centres
    covered = (np.abs(away.real) < 1.2 * halves.real) & (np.abs(away.imag) < 1.2 * halves.imag)
    return points[~covered.any(-1)]
