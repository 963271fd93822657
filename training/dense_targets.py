"""What each image token of a scene or clip should know while training: the answers to `training/heads.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.families import View
from training.replies import reading_order, scaled_box, to_box
from training.watching import STEP_S
from vlm_perception.scenes import COLOURS, KINDS, Truth
from vlm_perception.scenes.clips import DIRECTIONS, Happening
from vlm_perception.scenes.spec import LETTERS

MAX_RANK = 13
BEGINS, GOES_ON, HAS_STOPPED = 1, 2, 3


@dataclass(frozen=True, slots=True)
class DenseTargets:
    """What each image token should know while training; all (scenes, tokens, ...).

    Attributes:
        kind: int64, 0 for nothing, then `KINDS`, then shadow.
        colour: int64, 0 for nothing, then `COLOURS`, then shadow.
        striped: float32, 1 where the covering object is striped.
        xyxy: float32 (..., 4) box of the covering object, model pixels.
        written: float32 (..., 4) the same box in a reply's coordinates.
        is_centre: float32, 1 where the object's box centre lies in this token.
        rank: int64, place of the object in reading order, 0 for nothing.
        motion: int64, which way the covering object moves between the two frames of a clip: 0 for none, then
            `DIRECTIONS`.
        phase: int64, whether what covers the token begins to move in this pair of frames, goes on or has just stopped
            (`BEGINS`, `GOES_ON`, `HAS_STOPPED`); 0 for none of these.
        letters: int64 (..., 2) what is written in the left and the right half of the token: 0 for nothing, then
            `LETTERS`.
        text_xyxy: float32 (..., 4) box of the text that has a letter or its centre in this token, model pixels; 0 for
            none.
        text_written: float32 (..., 4) the same box in a reply's coordinates.
    """

    kind: Tensor
    colour: Tensor
    striped: Tensor
    xyxy: Tensor
    written: Tensor
    is_centre: Tensor
    rank: Tensor
    letters: Tensor
    text_xyxy: Tensor
    text_written: Tensor
    motion: Tensor
    phase: Tensor


def dense_targets(truths: list[list[Truth]], view: View) -> DenseTargets:
    """Per image token: the object whose centre it holds, else the one that covers most of it."""
    (down, across), cell_px = view.grid_hw, view.family.family.cell_px
    kinds, colours = (*KINDS, "shadow"), (*COLOURS, "shadow")
    values = np.zeros((len(truths), down, across, 13), np.float32)
    for scene, here in enumerate(truths):
        boxes = [to_box(t, view.image_wh, view.model_wh) for t in here]
        things = sorted(
            zip(boxes, here, strict=True), key=lambda bt: (bt[1].label == "shadow", reading_order(bt[0], cell_px))
        )
        claimed = np.zeros((down, across), np.float32)
        for rank, (box, truth) in enumerate(things, start=1):
            share = _cover(box, down, across, cell_px)
            centre = int((box[1] + box[3]) / 2 // cell_px), int((box[0] + box[2]) / 2 // cell_px)
            share[centre] += 1.0
            mine = (share > claimed) & (share > 0.08)
            claimed[mine] = share[mine]
            words = truth.label.split()
            values[scene][mine] = (
                kinds.index(words[-1]) + 1,
                colours.index(words[0]) + 1,
                truth.attributes.get("pattern") == "striped",
                *box,
                *to_box(truth, view.image_wh, view.reply_wh),
                0,
                0 if truth.label == "shadow" else min(rank, MAX_RANK),
            )
            if mine[centre]:
                values[scene][(*centre, 11)] = 1
    flat = torch.from_numpy(values.reshape(len(truths), down * across, 13))
    letters, texts = (torch.from_numpy(of_texts).flatten(1, 2) for of_texts in _texts(truths, view))
    return DenseTargets(
        kind=flat[..., 0].long(),
        colour=flat[..., 1].long(),
        striped=flat[..., 2],
        xyxy=flat[..., 3:7],
        written=flat[..., 7:11],
        is_centre=flat[..., 11],
        rank=flat[..., 12].long(),
        letters=letters,
        text_xyxy=texts[..., :4],
        text_written=texts[..., 4:],
        motion=torch.zeros(len(truths), down * across, dtype=torch.int64),
        phase=torch.zeros(len(truths), down * across, dtype=torch.int64),
    )


def motion_of(
    dense: DenseTargets, truths: list[list[list[Truth]]], moving: list[tuple[Happening, ...]], view: View
) -> Tensor:
    """(pairs of all clips, tokens) which way what covers a token goes between the two frames of its pair."""
    motion, place = torch.zeros_like(dense.kind), 0
    for clip, happenings in zip(truths, moving, strict=True):
        mine = [covered_by(dense, one.label) for one in happenings]
        for pair in range(len(clip)):
            first_s, later_s = 2 * pair * STEP_S, (2 * pair + 1) * STEP_S
            for one, covered in zip(happenings, mine, strict=True):
                if one.start_s < later_s and one.end_s > first_s:
                    motion[place][covered[place]] = DIRECTIONS.index(one.direction) + 1
            place += 1
    return motion


def phase_of(dense: DenseTargets, happenings: tuple[Happening, ...]) -> Tensor:
    """(pairs, tokens) phase of what covers a token of one clip, whose motion is known; a decoder sees only the past."""
    phase = torch.zeros_like(dense.kind)
    for one in happenings:
        mine, pairs = covered_by(dense, one.label), moving_pairs(dense, one.label)
        for pair in range(pairs[0], min(pairs[-1] + 2, len(mine))) if pairs else ():
            phase[pair][mine[pair]] = BEGINS if pair == pairs[0] else GOES_ON if pair <= pairs[-1] else HAS_STOPPED
    return phase


def moving_pairs(dense: DenseTargets, label: str) -> list[int]:
    """Pairs of frames of a clip in which something of a label is seen to move."""
    moves = covered_by(dense, label) & (dense.motion > 0)
    return [pair for pair, here in enumerate(moves) if bool(here.any())]


def covered_by(dense: DenseTargets, label: str) -> Tensor:
    """(scenes, tokens) bool, which of them something of a label covers."""
    colour, kind = label.split()
    return (dense.kind == KINDS.index(kind) + 1) & (dense.colour == list(COLOURS).index(colour) + 1)


def _texts(truths: list[list[Truth]], view: View) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What is written where; the letters of a text are taken to be equally wide.

    Returns:
        (scenes, down, across, 2) letters and (scenes, down, across, 8) boxes, as `DenseTargets` has them.
    """
    (down, across), cell_px = view.grid_hw, view.family.family.cell_px
    letters = np.zeros((len(truths), down, across, 2), np.int64)
    boxes = np.zeros((len(truths), down, across, 8), np.float32)
    for scene, here in enumerate(truths):
        for text, xyxy in (t.text for t in here if t.text is not None):
            left, top, right, bottom = box = scaled_box(xyxy, view.image_wh, view.model_wh)
            both, row = (*box, *scaled_box(xyxy, view.image_wh, view.reply_wh)), int((top + bottom) / 2 // cell_px)
            boxes[scene, row, int((left + right) / 2 // cell_px)] = both
            for place, letter in enumerate(text):
                half = int((left + (right - left) * (place + 0.5) / len(text)) / (cell_px / 2))
                letters[scene, row, half // 2, half % 2] = LETTERS.index(letter) + 1
                boxes[scene, row, half // 2] = both
    return letters, boxes


def _cover(box: tuple[int, int, int, int], down: int, across: int, cell_px: int) -> NDArray[np.float32]:
    """(down, across) share of each token's area that the box covers."""
    ys, xs = np.arange(down) * cell_px, np.arange(across) * cell_px
    high = np.clip(np.minimum(box[3], ys + cell_px) - np.maximum(box[1], ys), 0, None)
    wide = np.clip(np.minimum(box[2], xs + cell_px) - np.maximum(box[0], xs), 0, None)
    return (high[:, None] * wide[None, :] / cell_px**2).astype(np.float32)
