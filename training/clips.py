"""Clips drawn once and kept on disk in shards, as `training/cache.py` keeps scenes.

A shard is `NNNNN.npy`, (clips, frames, h, w, 3) uint8 at the model's size, and `NNNNN.json`: what is in each pair of
frames that becomes one step in time, what happens, and what stays where it is. All clips of a shard are equally long.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cache import SMALL_SHARE, resized, truth_of
from training.checkpoint import SMALL_PIXELS
from training.families import TINY_FAMILIES, TinyFamily, View
from training.watching import STEP_S
from vlm_perception.engines.families import plan_resize
from vlm_perception.scenes import Truth
from vlm_perception.scenes.clips import Direction, DrawnClip, Happening

CLIPS_PER_SHARD = 32
# Evaluation's clips have seeds below, training's scenes others.
FIRST_CLIP_SEED = 2_000_000
_SIZES = ((448, 336), (320, 240), (504, 280), (392, 392))
# Few lengths, because each is compiled by itself.
_FRAMES = (4, 8, 12, 16)
_MIRRORED: dict[Direction, Direction] = {"left": "right", "right": "left", "up": "up", "down": "down"}


def make_clip_shard(folder: Path, shard: int, family: TinyFamily) -> None:
    """Draw one shard and write it; the .npy appears last and whole."""
    rng = np.random.default_rng(FIRST_CLIP_SEED + shard)
    image_wh = _SIZES[int(rng.integers(len(_SIZES)))]
    # As large as the node shows a frame with its own settings, or smaller.
    small = rng.random() < SMALL_SHARE
    budget = SMALL_PIXELS[family.family.name] if small else family.pixels
    model_wh = plan_resize(image_wh, budget, cell_px=family.family.cell_px)
    frames = int(rng.choice(_FRAMES))
    pixels = np.empty((CLIPS_PER_SHARD, frames, model_wh[1], model_wh[0], 3), np.uint8)
    clips = []
    for index in range(CLIPS_PER_SHARD):
        clip = DrawnClip(rng, image_wh, (frames - 1) * STEP_S)
        drawn = [clip.at(frame * STEP_S) for frame in range(frames)]
        pixels[index] = [resized(scene.rgb, model_wh) for scene in drawn]
        clips.append(
            {
                # Of each pair the later one: what comes is seen in it.
                "truths": [[asdict(truth) for truth in scene.truths] for scene in drawn[1::2]],
                "happenings": [asdict(one) for one in clip.happenings],
                "still": clip.still,
            }
        )
    meta = {"family": family.family.name, "image_wh": image_wh, "clips": clips}
    (folder / f"{shard:05d}.json").write_text(json.dumps(meta))
    np.save(folder / f"{shard:05d}.part.npy", pixels)
    os.replace(folder / f"{shard:05d}.part.npy", folder / f"{shard:05d}.npy")


class ClipShard:
    """One shard read back.

    Attributes:
        pixels: (clips, frames, h, w, 3) uint8, memory-mapped.
        view: How the family sees a frame.
        truths: Of each clip and each pair of frames, what is in the later one, in image pixels.
        happenings: What happens in each clip.
        still: Labels of what stays where it is, of each clip.
    """

    def __init__(self, folder: Path, shard: int, family: TinyFamily) -> None:
        meta = json.loads((folder / f"{shard:05d}.json").read_text())
        self.pixels: NDArray[np.uint8] = np.load(folder / f"{shard:05d}.npy", mmap_mode="r")
        image_wh = (meta["image_wh"][0], meta["image_wh"][1])
        self.view = View(family, image_wh, (self.pixels.shape[3], self.pixels.shape[2]))
        clips = meta["clips"]
        self.truths: list[list[list[Truth]]] = [
            [[truth_of(values) for values in pair] for pair in clip["truths"]] for clip in clips
        ]
        self.happenings = [tuple(Happening(**values) for values in clip["happenings"]) for clip in clips]
        self.still: list[list[str]] = [clip["still"] for clip in clips]


def mirrored(one: Happening) -> Happening:
    """The same, seen in a mirror."""
    return replace(one, direction=_MIRRORED[one.direction])


def main() -> None:
    """Make the shards: `python -m training.clips FOLDER FAMILY SHARDS`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("family", choices=TINY_FAMILIES)
    parser.add_argument("shards", type=int)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for shard in range(args.shards):
        if not (args.folder / f"{shard:05d}.npy").exists():
            make_clip_shard(args.folder, shard, TINY_FAMILIES[args.family])


if __name__ == "__main__":
    main()
