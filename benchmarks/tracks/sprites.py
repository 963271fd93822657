"""The things that films show: cut-outs with soft edges, of one flat colour or of a photograph."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.photos import training_photos
from vlm_perception.scenes import COLOURS, KINDS, ObjectSpec, random_scene
from vlm_perception.scenes.draw import cut_out

# Room around the thing, so that its soft edge is not cut.
_MARGIN = 1.1
# How many times larger things are drawn than shown.
_FINE = 4


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
    item = ObjectSpec(kind, item.colour, item.rgb, item.pattern, 0.5, 0.5, 1.0, aspect, 0.0, 0)
    return _cut_out(item, side_px)


def textured_sprite(rng: np.random.Generator, side_px: float) -> Sprite:
    """Cut a piece of a photograph out in the form of a thing of the scenes."""
    kind = str(rng.choice(KINDS[:3]))
    colour = str(rng.choice(list(COLOURS)))
    item = ObjectSpec(kind, colour, (0, 0, 0), "plain", 0.5, 0.5, 1.0, float(rng.uniform(0.7, 1.4)), 0.0, 0)
    form = _cut_out(item, side_px)
    photos = training_photos()
    photo = photos[int(rng.integers(len(photos)))]
    cut = int(min(photo.shape[:2]) * rng.uniform(0.25, 0.7))
    x, y = int(rng.integers(photo.shape[1] - cut)), int(rng.integers(photo.shape[0] - cut))
    side = form.rgba.shape[0]
    piece = cv2.resize(photo[y : y + cut, x : x + cut], (side, side), interpolation=cv2.INTER_AREA)
    return Sprite(f"picture {kind}", np.dstack([piece, form.rgba[..., 3]]))


def _cut_out(item: ObjectSpec, side_px: float) -> Sprite:
    """Draw an object large, in the middle of a square, and make it small: so its edge is soft."""
    rgb, own = cut_out(item, _FINE * round(side_px))
    height, width = own.shape
    side = round(_MARGIN * max(own.shape))
    top, left = (side - height) // 2, (side - width) // 2
    rim = (top, side - height - top, left, side - width - left)
    square = cv2.copyMakeBorder(rgb, *rim, cv2.BORDER_REPLICATE)
    alpha = cv2.copyMakeBorder(own.astype(np.uint8) * 255, *rim, cv2.BORDER_CONSTANT, value=0)
    small = (round(side / _FINE), round(side / _FINE))
    return Sprite(item.label, cv2.resize(np.dstack([square, alpha]), small, interpolation=cv2.INTER_AREA))
