"""One scene with letters in it, as training draws them."""

from __future__ import annotations

import numpy as np

from training.families import TinyFamily
from training.scenes import Scenes, resized
from vlm_perception.scenes import Variety, random_scene, render

IMAGE_WH = (320, 240)


def one_scene(seed: int, family: TinyFamily) -> Scenes:
    """Draw it, as a family sees it."""
    rng = np.random.default_rng(seed)
    scene = render(random_scene(rng, IMAGE_WH, variety=Variety(lettered_share=1.0)), IMAGE_WH)
    view = family.view(IMAGE_WH)
    return Scenes(resized(scene.rgb, view.model_wh)[None], view, [list(scene.truths)])
