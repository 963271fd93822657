"""The things that films show: cut-outs with soft edges, of one flat colour or of a photograph."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.photos import training_photos
from vlm_perception.scenes import COLOURS, KINDS, Background, Light, ObjectSpec, SceneSpec, random_scene, render

_LIGHT = Light(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
# Room around the thing, so that its soft edge is not cut.
_MARGIN = 1.1


@dataclass(frozen=True, slots=True)
class Sprite:
    """One cut-out.

    Attributes:
        label: What a model calls it.
        rgba: (n, n, 4) uint8; its colours go on where it is transparent, so that no edge takes on another one.
    """

    label: str
    rgba: NDArray[np.uint8]

    @property
    def area(self) -> int:
        """How many of its pixels the thing covers."""
        return int(np.count_nonzero(self.rgba[..., 3] > 127))


def flat_sprite(rng: np.random.Generator, side_px: float) -> Sprite:
    """Draw a thing as the scenes do: one colour, with stripes, wheels or eyes at most."""
    item = random_scene(rng, (640, 640), 1).objects[0]
    kind = str(rng.choice(KINDS))
    aspect = {"cart": 0.75, "face": 1.0}.get(kind, float(rng.uniform(0.8, 1.25)))
    item = ObjectSpec(kind, item.colour, item.rgb, item.pattern, 0.5, 0.5, 1 / _MARGIN, aspect, 0.0, 0)
    return _cut_out(item, side_px)


def textured_sprite(rng: np.random.Generator, side_px: float) -> Sprite:
    """Cut a piece of a photograph out in the form of a thing of the scenes."""
    kind = str(rng.choice(KINDS[:3]))
    colour = str(rng.choice(list(COLOURS)))
    item = ObjectSpec(kind, colour, (0, 0, 0), "plain", 0.5, 0.5, 1 / _MARGIN, float(rng.uniform(0.7, 1.4)), 0.0, 0)
    form = _cut_out(item, side_px)
    photos = training_photos()
    photo = photos[int(rng.integers(len(photos)))]
    cut = int(min(photo.shape[:2]) * rng.uniform(0.25, 0.7))
    x, y = int(rng.integers(photo.shape[1] - cut)), int(rng.integers(photo.shape[0] - cut))
    side = form.rgba.shape[0]
    piece = cv2.resize(photo[y : y + cut, x : x + cut], (side, side), interpolation=cv2.INTER_AREA)
    return Sprite(f"picture {kind}", np.dstack([piece, form.rgba[..., 3]]))


def _cut_out(item: ObjectSpec, side_px: float) -> Sprite:
    """Draw an object on black and on white: what differs is not the object."""
    wh = (round(side_px * _MARGIN), round(side_px * _MARGIN))
    black, white = (
        render(SceneSpec((item,), Background("plain", shade, shade, 0), _LIGHT), wh).rgb
        for shade in ((0, 0, 0), (255, 255, 255))
    )
    alpha = 255 - np.clip(white.astype(np.int16).mean(-1) - black.astype(np.int16).mean(-1), 0, 255)
    outside = (alpha < 250).astype(np.uint8)
    rgb = cv2.inpaint(black, outside, 3, cv2.INPAINT_TELEA)
    return Sprite(item.label, np.dstack([rgb, alpha.astype(np.uint8)]))
