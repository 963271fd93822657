"""Scenes, drawn anew for each step: of a few thousand that come back, the letters are soon known by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.checkpoint import SMALL_PIXELS
from training.families import TinyFamily, View
from training.photos import VariedPhotos
from vlm_perception.engines.families import plan_resize
from vlm_perception.scenes import SceneSpec, Truth, Variety, random_scene, render
from vlm_perception.types import WH

# Camera sizes with their share of the steps.
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
# Evaluation and calibration draw from seeds below; a step's own is a pair of numbers, so that the two never meet.
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
MAX_OBJECTS = 12
# Nothing drawn, or one to twelve things.
OBJECT_SHARES = (0.08, *(0.12,) * 6, 0.05, 0.05, 0.03, 0.03, 0.02, 0.02)
# So many scenes have letters for certain, where they are seen large enough to be read.
LETTERED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Scenes:
    """Some scenes of one size.

    Attributes:
        pixels: (scenes, h, w, 3) uint8, as the model sees them.
        view: How it sees them.
        truths: What is in each, in image pixels.
    """

    pixels: NDArray[np.uint8]
    view: View
    truths: list[list[Truth]]


def draw_scenes(rng: np.random.Generator, count: int, family: TinyFamily, most: int = MAX_OBJECTS) -> Scenes:
    """Draw `count` scenes of at most `most` things, seen as large as the node shows them with its own settings.

    Some are seen smaller, as a frame of a clip is, or an image of a robot that has no time.
    """
    sizes, shares = zip(*CAMERA_SIZES, strict=True)
    image_wh = sizes[int(rng.choice(len(sizes), p=shares))]
    is_small = rng.random() < SMALL_SHARE
    budget = SMALL_PIXELS[family.family.name] if is_small else family.pixels
    model_wh = plan_resize(image_wh, budget, cell_px=family.family.cell_px)
    drawn = []
    for _ in range(count):
        has_letters = not is_small and rng.random() < LETTERED_SHARE
        spec = varied_scene(rng, image_wh, VariedPhotos(rng), most)
        while has_letters and not any(item.text for item in spec.objects):
            spec = varied_scene(rng, image_wh, VariedPhotos(rng), most)
        drawn.append(render(spec, image_wh))
    return Scenes(
        np.array([resized(scene.rgb, model_wh) for scene in drawn]),
        View(family, image_wh, model_wh),
        [list(scene.truths) for scene in drawn],
    )


def varied_scene(
    rng: np.random.Generator, image_wh: WH, photos: Sequence[NDArray[np.uint8]], most: int = MAX_OBJECTS
) -> SceneSpec:
    """Draw what stands in a scene, with at most `most` things; where nothing does, it is mostly a photograph."""
    shares = np.array(OBJECT_SHARES[: most + 1])
    wanted = int(rng.choice(most + 1, p=shares / shares.sum()))
    variety = VARIETY if wanted else replace(VARIETY, photo_share=0.85)
    return random_scene(rng, image_wh, wanted, photos, variety=variety)


def resized(rgb: NDArray[np.uint8], model_wh: WH) -> NDArray[np.uint8]:
    """Resize as qwen-vl-utils does: Pillow's bicubic filter."""
    return np.asarray(Image.fromarray(rgb).resize(model_wh, Image.Resampling.BICUBIC))
