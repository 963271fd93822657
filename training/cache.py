"""Scenes drawn once and kept on disk in shards, so that training never waits for drawing.

A shard is `NNNNN.npy`, (scenes, h, w, 3) uint8 at the model's size, and `NNNNN.json`, the truths
in camera pixels. Shards are made by worker processes while training runs.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.families import TINY_FAMILIES, TinyFamily
from training.photos import training_photos
from vlm_perception.scenes import Truth, random_scene, render

SCENES_PER_SHARD = 256
# Camera sizes with their share of the shards.
CAMERA_SIZES: tuple[tuple[tuple[int, int], float], ...] = (
    ((640, 480), 0.16),
    ((448, 336), 0.16),
    ((320, 240), 0.10),
    ((640, 360), 0.12),
    ((504, 280), 0.12),
    ((1280, 720), 0.03),
    ((480, 480), 0.10),
    ((392, 392), 0.11),
    ((640, 400), 0.05),
    ((480, 640), 0.05),
)
# Training seeds start here; evaluation uses seeds below, so the two never meet.
FIRST_TRAINING_SEED = 1_000_000


def max_objects(shard: int) -> int:
    """Curriculum: few objects in the first shards, up to six from then on."""
    return 2 if shard < 12 else 4 if shard < 24 else 6


def make_shard(folder: Path, shard: int, family: TinyFamily) -> None:
    """Draw one shard and write it; the .npy appears last and whole."""
    rng = np.random.default_rng(FIRST_TRAINING_SEED + shard)
    sizes, shares = zip(*CAMERA_SIZES, strict=True)
    image_wh = sizes[int(rng.choice(len(sizes), p=shares))]
    model_wh = family.view(image_wh).model_wh
    photos = training_photos()
    pixels = np.empty((SCENES_PER_SHARD, model_wh[1], model_wh[0], 3), np.uint8)
    truths = []
    for index in range(SCENES_PER_SHARD):
        scene = render(random_scene(rng, image_wh, photos=photos, max_objects=max_objects(shard)), image_wh)
        pixels[index] = resized(scene.rgb, model_wh)
        truths.append([asdict(truth) for truth in scene.truths])
    (folder / f"{shard:05d}.json").write_text(json.dumps({"image_wh": image_wh, "truths": truths}))
    np.save(folder / f"{shard:05d}.part.npy", pixels)
    os.replace(folder / f"{shard:05d}.part.npy", folder / f"{shard:05d}.npy")


def resized(rgb: NDArray[np.uint8], model_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize as qwen-vl-utils does: Pillow's bicubic filter."""
    return np.asarray(Image.fromarray(rgb).resize(model_wh, Image.Resampling.BICUBIC))


class Shard:
    """One shard read back: `pixels` is memory-mapped, `truths` one list a scene, `view` how the family sees them.

    Raises:
        ValueError: The shard was drawn for a family that sees its images at another size.
    """

    def __init__(self, folder: Path, shard: int, family: TinyFamily) -> None:
        meta = json.loads((folder / f"{shard:05d}.json").read_text())
        self.pixels: NDArray[np.uint8] = np.load(folder / f"{shard:05d}.npy", mmap_mode="r")
        self.view = family.view((meta["image_wh"][0], meta["image_wh"][1]))
        if self.view.model_wh != (self.pixels.shape[2], self.pixels.shape[1]):
            raise ValueError(
                f"{folder}/{shard:05d}.npy is {self.pixels.shape[2]}x{self.pixels.shape[1]}, not "
                f"{self.view.model_wh[0]}x{self.view.model_wh[1]}: it was drawn for another family; use another folder"
            )
        self.truths: list[list[Truth]] = [
            [Truth(t["label"], tuple(t["xyxy"]), t["attributes"], tuple(tuple(p) for p in t["points"])) for t in scene]
            for scene in meta["truths"]
        ]


def main() -> None:
    """Make the shards of one worker: `python -m training.cache FOLDER FAMILY FIRST LAST STEP`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("family", choices=TINY_FAMILIES)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("step", type=int)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for shard in range(args.first, args.last, args.step):
        if not (args.folder / f"{shard:05d}.npy").exists():
            make_shard(args.folder, shard, TINY_FAMILIES[args.family])


if __name__ == "__main__":
    main()
