"""Scenes that move: every object drifts on a straight line and bounces off the image borders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vlm_perception.scenes.draw import Scene, render
from vlm_perception.scenes.spec import ObjectSpec, SceneSpec, random_scene


class MovingScene:
    """A scene whose objects move; the same arguments and time give the same pixels.

    Args:
        seed: Chooses objects, background, light and velocities.
        image_wh: Camera image size in pixels.
        n_objects: How many objects to try to place; None draws 1 to 6.
        speed: Top speed in image sides per second.
    """

    def __init__(self, seed: int, image_wh: tuple[int, int], n_objects: int | None = None, speed: float = 0.05) -> None:
        rng = np.random.default_rng(seed)
        self._image_wh = image_wh
        self._spec = random_scene(rng, image_wh, n_objects)
        self._velocities = rng.uniform(-speed, speed, (len(self._spec.objects), 2))

    def spec_at(self, time_s: float) -> SceneSpec:
        """What stands where `time_s` seconds after the start."""
        moved = [
            _moved(item, time_s * float(vx), time_s * float(vy), self._image_wh)
            for item, (vx, vy) in zip(self._spec.objects, self._velocities, strict=True)
        ]
        return replace(self._spec, objects=tuple(moved))

    def at(self, time_s: float) -> Scene:
        """Draw the scene `time_s` seconds after the start."""
        return render(self.spec_at(time_s), self._image_wh)


def _moved(item: ObjectSpec, dx: float, dy: float, image_wh: tuple[int, int]) -> ObjectSpec:
    half_w, half_h = item.half_wh(image_wh)
    return replace(
        item,
        cx=_bounce(item.cx + dx, half_w / image_wh[0]),
        cy=_bounce(item.cy + dy, half_h / image_wh[1]),
    )


def _bounce(position: float, margin: float) -> float:
    """Fold a coordinate into margin..1-margin as if it were reflected at both ends."""
    margin = min(margin, 0.5)
    room = 1.0 - 2.0 * margin
    if room <= 0.0:
        return 0.5
    folded = (position - margin) % (2.0 * room)
    return margin + (folded if folded <= room else 2.0 * room - folded)
