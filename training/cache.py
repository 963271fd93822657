"""Scenes drawn once and kept on disk in shards, so that training never waits for drawing.

A shard is `NNNNN.npy`, (scenes, h, w, 3) uint8 at the model's size, and `NNNNN.json`, the truths
in camera pixels. Shards are made by worker processes while training runs.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.checkpoint import SMALL_PIXELS
from training.families import TINY_FAMILIES, TinyFamily, View
from training.photos import VariedPhotos
from vlm_perception.engines.families import plan_resize
from vlm_perception.scenes import SceneSpec, Truth, Variety, random_scene, render
from vlm_perception.types import WH

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
SMALL_SHARE = 0.25
# Training seeds start here; evaluation uses seeds below, so the two never meet.
FIRST_TRAINING_SEED = 1_000_000


# What a checkpoint is taught on; `training.evaluate` asks about scenes like these too.
VARIETY = Variety(
    min_side=0.03,
    min_detailed_side=0.10,
    shadow_share=0.35,
    photo_share=0.45,
    lettered_share=0.7,
    arranged_share=0.35,
)
# Nothing drawn, or one to twelve things.
OBJECT_SHARES = (0.08, *(0.12,) * 6, 0.05, 0.05, 0.03, 0.03, 0.02, 0.02)


def max_objects(shard: int) -> int:
    """Curriculum: few objects in the first shards, up to twelve from then on."""
    return 2 if shard < 12 else 4 if shard < 24 else 12


def varied_scene(
    rng: np.random.Generator, image_wh: WH, photos: Sequence[NDArray[np.uint8]], most: int = 12
) -> SceneSpec:
    """Draw what stands in a scene, with at most `most` things; where nothing does, it is mostly a photograph."""
    shares = np.array(OBJECT_SHARES[: most + 1])
    wanted = int(rng.choice(most + 1, p=shares / shares.sum()))
    variety = VARIETY if wanted else replace(VARIETY, photo_share=0.85)
    return random_scene(rng, image_wh, wanted, photos, variety=variety)


def make_shard(folder: Path, shard: int, family: TinyFamily) -> None:
    """Draw one shard and write it; the .npy appears last and whole."""
    rng = np.random.default_rng(FIRST_TRAINING_SEED + shard)
    sizes, shares = zip(*CAMERA_SIZES, strict=True)
    image_wh = sizes[int(rng.choice(len(sizes), p=shares))]
    # Some are seen smaller, as a frame of a clip is, or an image of a robot that has no time.
    small = rng.random() < SMALL_SHARE
    model_wh = plan_resize(
        image_wh, SMALL_PIXELS[family.family.name] if small else family.pixels, cell_px=family.family.cell_px
    )
    pixels = np.empty((SCENES_PER_SHARD, model_wh[1], model_wh[0], 3), np.uint8)
    truths = []
    for index in range(SCENES_PER_SHARD):
        scene = render(varied_scene(rng, image_wh, VariedPhotos(rng), max_objects(shard)), image_wh)
        pixels[index] = resized(scene.rgb, model_wh)
        truths.append([asdict(truth) for truth in scene.truths])
    (folder / f"{shard:05d}.json").write_text(
        json.dumps({"family": family.family.name, "image_wh": image_wh, "truths": truths})
    )
    np.save(folder / f"{shard:05d}.part.npy", pixels)
    os.replace(folder / f"{shard:05d}.part.npy", folder / f"{shard:05d}.npy")


def resized(rgb: NDArray[np.uint8], model_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize as qwen-vl-utils does: Pillow's bicubic filter."""
    return np.asarray(Image.fromarray(rgb).resize(model_wh, Image.Resampling.BICUBIC))


class Shard:
    """One shard read back: `pixels` is memory-mapped, `truths` one list a scene, `view` how the family sees them.

    Raises:
        ValueError: The shard was drawn for another family, or by a recipe that names none.
    """

    def __init__(self, folder: Path, shard: int, family: TinyFamily) -> None:
        meta = json.loads((folder / f"{shard:05d}.json").read_text())
        self.pixels: NDArray[np.uint8] = np.load(folder / f"{shard:05d}.npy", mmap_mode="r")
        if meta.get("family") != family.family.name:
            raise ValueError(
                f"{folder}/{shard:05d}.npy was drawn for another family or by an older recipe "
                f"({meta.get('family', 'it names none')}), not for {family.family.name}: use another folder"
            )
        image_wh, model_wh = tuple(meta["image_wh"]), (self.pixels.shape[2], self.pixels.shape[1])
        self.view = View(family, image_wh, model_wh)
        self.truths: list[list[Truth]] = [[truth_of(values) for values in scene] for scene in meta["truths"]]


def truth_of(values: dict[str, Any]) -> Truth:
    """Read a truth back as `asdict` wrote it."""
    text = values["text"] and (values["text"][0], tuple(values["text"][1]))
    points = tuple(tuple(point) for point in values["points"])
    return Truth(values["label"], tuple(values["xyxy"]), values["attributes"], points, text)


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
