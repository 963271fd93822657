"""Drawn scenes with exact ground truth, for the demo camera, for training and for evaluation.

`random_scene` invents a `SceneSpec` (what stands where, in fractions of the image), `render` draws
it at any camera size and reads the truth off the drawn pixels, `MovingScene` moves the objects.
"""

from vlm_perception.scenes.draw import Scene, Truth, render
from vlm_perception.scenes.moving import MovingScene
from vlm_perception.scenes.spec import COLOURS, KINDS, Background, Light, ObjectSpec, SceneSpec, Variety, random_scene

__all__ = [
    "COLOURS",
    "KINDS",
    "Background",
    "Light",
    "MovingScene",
    "ObjectSpec",
    "Scene",
    "SceneSpec",
    "Truth",
    "Variety",
    "random_scene",
    "render",
]
