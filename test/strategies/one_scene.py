"""A shard of one scene, made in memory."""

from __future__ import annotations

import numpy as np

from training.cache import Shard, resized
from training.families import TinyFamily
from vlm_perception.scenes import Variety, random_scene, render

IMAGE_WH = (320, 240)


class OneScene(Shard):
    """One scene with letters in it, as a family sees it."""

    def __init__(self, seed: int, family: TinyFamily) -> None:
        rng = np.random.default_rng(seed)
        scene = render(random_scene(rng, IMAGE_WH, variety=Variety(lettered_share=1.0)), IMAGE_WH)
        self.rgb = scene.rgb
        self.view = family.view(IMAGE_WH)
        self.pixels = resized(scene.rgb, self.view.model_wh)[None]
        self.truths = [list(scene.truths)]
