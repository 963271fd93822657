"""Drawn videos of known motion, for whatever is measured on more than one frame.

Frames are `PERIOD_S` apart, about as often as a model answers, so what counts is how far things
move between two answers. Every frame has its own sensor noise: no two are the same pixels, as with
a real camera.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlm_perception.scenes import MovingScene, Scene, render
from vlm_perception.types import Frame, FrameHeader

IMAGE_WH = (640, 480)
PERIOD_S = 0.2
# Top speed along each axis, image sides per second; None is a new scene in every frame.
SPEEDS: dict[str, float | None] = {"static": 0.0, "slow": 0.05, "fast": 0.3, "cuts": None}
_CAMERA_HZ = 30.0
_NOISE = 2.0
_SCENE_TRIES = 200


def video(kind: str, n_objects: int, frames: int, seed: int) -> Iterator[Frame]:
    """Draw one video.

    Args:
        kind: A key of `SPEEDS`.
        n_objects: How many objects each scene holds.
        frames: How many frames.
        seed: The same arguments give the same pixels.
    """
    for index, scene in enumerate(scenes(kind, n_objects, frames, seed)):
        yield frame_of(scene.rgb, index, seed)


def scenes(kind: str, n_objects: int, frames: int, seed: int) -> Iterator[Scene]:
    """Draw what a video shows, without noise, and tell what is in it; arguments as for `video`."""
    speed = SPEEDS[kind]
    scene = _scene_of(n_objects, seed, speed or 0.0)
    for index in range(frames):
        if speed is None:
            scene = _scene_of(n_objects, seed + (index + 1) * 7919, 0.0)
        yield scene.at(index * PERIOD_S)


def between(kind: str, n_objects: int, index: int, seed: int) -> Iterator[Frame]:
    """Draw what a camera of 30 Hz films after frame number `index` of a video and before the next."""
    speed = SPEEDS[kind]
    scene = _scene_of(n_objects, seed, speed or 0.0)
    steps = round(PERIOD_S * _CAMERA_HZ) if speed is not None else 1
    for step in range(1, steps):
        rgb = scene.at((index + step / steps) * PERIOD_S).rgb
        frame = frame_of(rgb, index * steps + step, seed)
        yield replace(frame, received_s=(index + step / steps) * PERIOD_S)


def come_and_go(frames: int, seed: int, n_objects: int = 6, speed: float = 0.08) -> Iterator[Frame]:
    """Draw a moving scene whose objects appear and vanish, each with its own rhythm, in the middle of the list too."""
    rng = np.random.default_rng(seed)
    scene = MovingScene(seed, IMAGE_WH, n_objects, speed)
    periods, offsets = rng.integers(5, 14, n_objects), rng.integers(0, 14, n_objects)
    for index in range(frames):
        spec = scene.spec_at(index * PERIOD_S)
        there = tuple(
            item
            for item, period, offset in zip(spec.objects, periods, offsets, strict=False)
            if (index + int(offset)) % int(period) >= int(period) // 3
        )
        yield frame_of(render(replace(spec, objects=there), IMAGE_WH).rgb, index, seed)


def frame_of(rgb: NDArray[np.uint8], index: int, seed: int) -> Frame:
    """Give a picture, (height, width, 3) uint8, its noise and its time as frame number `index` of a video."""
    noise = np.random.default_rng((seed, index)).normal(0.0, _NOISE, rgb.shape)
    noisy = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    nanoseconds = round(index * PERIOD_S * 1e9)
    header = FrameHeader(1 + nanoseconds // 10**9, nanoseconds % 10**9, "camera")
    return Frame(noisy, header, "/image", index * PERIOD_S)


def _scene_of(n_objects: int, seed: int, speed: float) -> MovingScene:
    """Find a scene that really holds that many objects; not all places fit that many."""
    for attempt in range(_SCENE_TRIES):
        scene = MovingScene(seed * 1000 + attempt, IMAGE_WH, n_objects, speed)
        if len(scene.spec_at(0.0).objects) == n_objects:
            return scene
    raise ValueError(f"no scene with {n_objects} objects in {_SCENE_TRIES} tries; ask for fewer")
