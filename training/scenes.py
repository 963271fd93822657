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
# Training's seeds start here, one a step; evaluation and calibration use seeds below, so that they never meet.
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
    """Draw `count` scenes of at most `most` things."""
    image_wh = drawn_size(rng)
    view = drawn_view(rng, image_wh, family)
    is_readable, drawn = view == family.view(image_wh), []
    for _ in range(count):
        wants_letters, spec = is_readable and rng.random() < LETTERED_SHARE, None
        while spec is None or (wants_letters and not any(item.text for item in spec.objects)):
            spec = varied_scene(rng, image_wh, VariedPhotos(rng), most)
        drawn.append(render(spec, image_wh))
    return Scenes(
        np.array([resized(scene.rgb, view.model_wh) for scene in drawn]),
        view,
        [list(scene.truths) for scene in drawn],
    )


def drawn_size(rng: np.random.Generator) -> WH:
    """Draw the size of a camera's images, pixels."""
    sizes, shares = zip(*CAMERA_SIZES, strict=True)
    size: WH = sizes[int(rng.choice(len(sizes), p=shares))]
    return size


def drawn_view(rng: np.random.Generator, image_wh: WH, family: TinyFamily) -> View:
    """Draw how an image is seen: as large as the node shows it with its own settings, or smaller.

    So is a frame of a clip, or an image of a robot that has no time.
    """
    if rng.random() >= SMALL_SHARE:
        return family.view(image_wh)
    small = SMALL_PIXELS[family.family.name]
    return View(family, image_wh, plan_resize(image_wh, small, cell_px=family.family.cell_px))


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
