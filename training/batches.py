"""Scenes, clips and questions to `Batch`es: patches and packed token sequences."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from training.checkpoint import SYSTEM, TICKS_PER_S
from training.clip_pointers import Sight, sight_of
from training.clips import Clips
from training.dense_targets import DenseTargets, dense_targets, motion_of, phase_of
from training.families import TinyFamily, View
from training.forward import Batch
from training.loss_weights import clip_weights, list_weights, sentence_weights
from training.pointers import REPLY_END, Pointers
from training.questions import CHINESE_SHARE, TAUGHT_WEIGHTS, Asker
from training.scenes import Scenes
from training.token_roles import TokenRoles
from training.watching import STEP_S, ask
from vlm_perception.engines.transformers.clip_positions import clip_positions, grid_times_s, ticks_of
from vlm_perception.scenes import Truth
from vlm_perception.scenes.clips import Happening

# One step in twelve has the text before the image; such a sequence cannot share its prefix.
TEXT_FIRST_SHARE = 0.08


class BatchMaker:
    """Packs scenes and clips with questions.

    Args:
        tokenizer: The tiny checkpoint's tokenizer.
        rng: Source of chance: of questions.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator) -> None:
        self._tokenizer = tokenizer
        self.reseed(rng)
        self._prefix = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
        self._roles = TokenRoles(tokenizer)
        self._pointers = Pointers(tokenizer, self._roles)

    def reseed(self, rng: np.random.Generator) -> None:
        """Take another source of chance."""
        self._rng, self._asker = rng, Asker(rng, TAUGHT_WEIGHTS)

    def make(self, scenes: Scenes, length: int) -> tuple[Batch, DenseTargets]:
        """Ask as many questions about each scene as fit into `length` tokens."""
        text_first = self._rng.random() < TEXT_FIRST_SHARE
        grid = scenes.view.grid_hw
        rows = [self._pack(truths, scenes.view, length, text_first) for truths in scenes.truths]
        batch = _stack(rows, patchify(scenes.pixels, scenes.view.family), (grid[0] * 2, grid[1] * 2))
        return batch, dense_targets(scenes.truths, scenes.view)

    def make_clips(self, clips: Clips, length: int) -> tuple[Batch, DenseTargets]:
        """Ask as many questions about each clip as fit into `length` tokens, of questions and replies alone."""
        view, grid, count = clips.view, clips.view.grid_hw, len(clips.pixels)
        pairs = clips.pixels.shape[1] // 2
        patches = patchify(
            clips.pixels[:, ::2].reshape(-1, *clips.pixels.shape[2:]),
            view.family,
            clips.pixels[:, 1::2].reshape(-1, *clips.pixels.shape[2:]),
        )
        dense = dense_targets([pair for truths in clips.truths for pair in truths], view)
        dense = replace(dense, motion=motion_of(dense, clips.truths, clips.happenings, view))
        rows = []
        for place, (happenings, still) in enumerate(zip(clips.happenings, clips.still, strict=True)):
            here = slice(place * pairs, (place + 1) * pairs)
            own = DenseTargets(**{f.name: getattr(dense, f.name)[here] for f in fields(dense)})
            dense.phase[here] = phase_of(own, happenings)
            sights = {one: sight_of(one, own) for one in happenings}
            rows.append(self._pack_clip(2 * pairs, sights, still, view, length))
        batch = _stack(rows, patches.view(count, -1, patches.shape[-1]), (grid[0] * 2, grid[1] * 2))
        by_clip = {f.name: getattr(dense, f.name).unflatten(0, (count, pairs)).flatten(1, 2) for f in fields(dense)}
        return replace(batch, grid_t=pairs), DenseTargets(**by_clip)

    def _pack_clip(
        self, frames: int, sights: dict[Happening, Sight | None], still: list[str], view: View, length: int
    ) -> dict[str, NDArray[Any]]:
        """One sequence: the frames as the processor writes them, then questions with their replies."""
        (down, across), times_s = view.grid_hw, [frame * STEP_S for frame in range(frames)]
        pads = [self._tokenizer.convert_tokens_to_ids("<|video_pad|>")] * (down * across)
        in_text = view.family.family.times_in_text
        ids, words, before = self._ids(self._prefix), list[int](), 0
        for grid in grid_times_s(times_s, 2):
            if in_text:
                ids += self._ids(f"<{sum(grid) / 2:.1f} seconds><|vision_start|>")
            elif not words:
                ids += self._ids("<|vision_start|>")
            words.append(len(ids) - before)
            ids += pads + (self._ids("<|vision_end|>") if in_text else [])
            before = len(ids) - in_text
        ids += [] if in_text else self._ids("<|vision_end|>")
        ticks = None if in_text else ticks_of(times_s, 2, TICKS_PER_S)
        places, behind = clip_positions(words, down, across, ticks)
        # What ends the clip stands behind its last grid.
        tail = torch.arange(behind, behind + len(ids) - places.shape[1]).expand(3, -1)
        positions = torch.cat([places, tail], dim=1).numpy()
        columns = [_unasked(np.array(ids, np.int64), positions)]
        start, used = int(positions.max()) + 1, 0
        while True:
            instruction, expected = ask(
                tuple(sights), still, self._rng, chinese=bool(self._rng.random() < CHINESE_SHARE)
            )
            prompt = self._ids(f"{instruction}<|im_end|>\n<|im_start|>assistant\n")
            reply = self._ids(expected.words + REPLY_END)
            used += len(prompt) + len(reply)
            if used > length and len(columns) > 1:
                return {key: np.concatenate([c[key] for c in columns], axis=-1) for key in columns[0]}
            told = [sights[one] for one in expected.happenings]
            pointers, telling = self._pointers.of_clip(expected, told, frames // 2, view)
            weights = clip_weights(reply, telling, self._roles)
            columns.append(_branch(prompt, reply, _nowhere(prompt), pointers, weights, len(columns), start))

    def _pack(self, truths: list[Truth], view: View, length: int, text_first: bool) -> dict[str, NDArray[Any]]:
        """One sequence: shared prefix with the image, then every question with its reply."""
        grid = view.grid_hw
        asked = self._asker.ask(truths, view)
        image_text = "<|vision_start|>" + "<|image_pad|>" * (grid[0] * grid[1]) + "<|vision_end|>"
        before = asked.instruction if text_first else ""
        prefix = self._ids(self._prefix + before + image_text)
        columns = [_prefix_columns(prefix, self._tokenizer.convert_tokens_to_ids("<|image_pad|>"), grid)]
        start = int(columns[0]["positions"].max()) + 1
        used = len(prefix)
        # A scene too crowded for one question in `length` still gets its first one.
        while True:
            after = "" if text_first else asked.instruction
            question = f"{after}<|im_end|>\n<|im_start|>assistant\n"
            prompt = self._ids(question)
            reply = self._ids(asked.reply + REPLY_END)
            used += len(prompt) + len(reply)
            if used > length and len(columns) > 1:
                break
            pointers = self._pointers.of_image(reply, asked.expected, view)
            weights = (
                sentence_weights(reply, self._roles)
                if asked.expected.words
                else list_weights(reply, pointers, self._roles, thousandths=view.coordinates == "relative_1000")
            )
            looks = _nowhere(prompt) if text_first else self._pointers.of_question(question, asked.expected, view)
            columns.append(_branch(prompt, reply, looks, pointers, weights, len(columns), start))
            if text_first:
                break
            asked = self._asker.ask(truths, view)
        return {key: np.concatenate([c[key] for c in columns], axis=-1) for key in columns[0]}

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids


def _branch(
    prompt: list[int],
    reply: list[int],
    looks: NDArray[np.int64],
    pointers: NDArray[np.int64],
    weights: NDArray[np.float32],
    number: int,
    start: int,
) -> dict[str, NDArray[Any]]:
    """One question and its reply; `start` is the position of its first token.

    `looks` are of the question's tokens, `pointers` and `weights` of the reply's.
    """
    # Shifted by one: the last prompt token predicts the reply's first token.
    shift, length = (len(prompt) - 1, 1), len(prompt) + len(reply)
    return {
        "input_ids": np.array(prompt + reply, np.int64),
        "segments": np.full(length, number, np.int64),
        "positions": np.stack([np.arange(start, start + length)] * 3),
        "labels": np.pad(np.array(reply, np.int64), shift, constant_values=-100),
        "weights": np.pad(weights, shift),
        "pointers": np.concatenate([looks[:-1], pointers, [-1]]),
    }


def _nowhere(tokens: list[int]) -> NDArray[np.int64]:
    return np.full(len(tokens), -1, np.int64)


def _prefix_columns(ids: list[int], image_token: int, grid: tuple[int, int]) -> dict[str, NDArray[Any]]:
    array = np.array(ids, np.int64)
    at = int(np.flatnonzero(array == image_token)[0])
    count = grid[0] * grid[1]
    place = np.stack([np.arange(len(ids))] * 3)
    rows, columns = np.divmod(np.arange(count), grid[1])
    place[0, at : at + count] = at
    place[1, at : at + count] = at + rows
    place[2, at : at + count] = at + columns
    place[:, at + count :] = at + max(grid) + np.arange(len(ids) - at - count)
    return _unasked(array, place)


def _unasked(ids: NDArray[np.int64], positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The shared prefix, of which nothing is predicted."""
    return {
        "input_ids": ids,
        "segments": np.zeros(len(ids), np.int64),
        "positions": positions,
        "labels": np.full(len(ids), -100, np.int64),
        "weights": np.zeros(len(ids), np.float32),
        "pointers": np.full(len(ids), -1, np.int64),
    }


def _stack(rows: list[dict[str, NDArray[Any]]], patches: Tensor, grid_hw: tuple[int, int]) -> Batch:
    # A multiple of 128 keeps the number of distinct shapes, and so of compiled kernels, small.
    length = -(-max(r["input_ids"].shape[0] for r in rows) // 128) * 128
    fill = {"input_ids": 0, "segments": -1, "positions": 0, "labels": -100, "weights": 0, "pointers": -1}

    def padded(key: str) -> Tensor:
        parts = []
        for row in rows:
            value = row[key]
            room = [(0, 0)] * (value.ndim - 1) + [(0, length - value.shape[-1])]
            parts.append(np.pad(value, room, constant_values=fill[key]))
        return torch.from_numpy(np.stack(parts, axis=-2))

    return Batch(
        patches,
        grid_hw,
        padded("input_ids"),
        padded("segments"),
        padded("positions"),
        padded("labels"),
        padded("weights"),
        padded("pointers"),
    )


def patchify(pixels: NDArray[np.uint8], family: TinyFamily, later: NDArray[np.uint8] | None = None) -> Tensor:
    """(n, h, w, 3) uint8 to (n, patches, values) float32 as Qwen's processors lay them out.

    Args:
        pixels: Images, or the first frames of pairs.
        family: How it sees them.
        later: The second frames; of an image it is the image itself.
    """
    first = _ordered(pixels, family)
    # Filled in place: to stack and then reorder would copy tens of megabytes twice more.
    pairs = np.empty((*first.shape[:6], 2, *first.shape[6:]), np.float32)
    pairs[:, :, :, :, :, :, 0] = first
    pairs[:, :, :, :, :, :, 1] = first if later is None else _ordered(later, family)
    return torch.from_numpy(pairs.reshape(len(pixels), first.shape[1] * first.shape[2] * 4, -1))


def _ordered(pixels: NDArray[np.uint8], family: TinyFamily) -> NDArray[np.float32]:
    """(n, rows, columns, 2, 2, 3, side, side): patches in groups of four, channels first."""
    count, height, width, _ = pixels.shape
    cell, side = family.family.cell_px, family.family.cell_px // 2
    scaled = (pixels.astype(np.float32) / 255.0 - np.float32(family.mean)) / np.float32(family.std)
    grid = scaled.reshape(count, height // cell, 2, side, width // cell, 2, side, 3)
    return grid.transpose(0, 1, 4, 2, 5, 7, 3, 6)
