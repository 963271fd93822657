"""Rendered films with the truth of every frame: things that move, turn, grow and hide each other before a photograph.

The camera pans and shakes. Frames are rendered one by one, about 10 ms each; the same film and seed give the same
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.tracks.sprites import Sprite, flat_sprite, textured_sprite
from training.photos import evaluation_photos
from vlm_perception.types import WH, XY, XYXY, Frame, FrameHeader

IMAGE_WH: WH = (1280, 720)
RATE_HZ = 30.0
KINDS = {"flat": flat_sprite, "textured": textured_sprite}
# Less of a thing than this, and it is not in the truth: as in `vlm_perception.scenes`.
_MIN_VISIBLE = 0.3
# A thing that was not to be seen for longer comes as another one.
_ABSENT_S = 1.0
_PAN_PX = 150.0
_EDGE_PX = 24


@dataclass(frozen=True, slots=True)
class TrueBox:
    """One thing that can be seen.

    Attributes:
        id: Stays while it is in view.
        label: What a model calls it.
        xyxy: What bounds its visible pixels.
        centre_xy: Its own middle, hidden or outside of the image as it may be.
        size: Its size, compared with that in other frames.
    """

    id: int
    label: str
    xyxy: XYXY
    centre_xy: XY = (0.0, 0.0)
    size: float = 1.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame and all that can be seen in it."""

    frame: Frame
    truth: tuple[TrueBox, ...]


@dataclass(frozen=True, slots=True)
class _Path:
    """Where a thing is in each frame: (n, 2) centres in pixels of the image, (n,) radians, (n,) sizes about 1."""

    centres_xy: NDArray[np.float64]
    angles: NDArray[np.float64]
    sizes: NDArray[np.float64]


class Film:
    """One rendered film.

    Args:
        kind: A key of `KINDS`.
        objects: How many things move about; now and then one leaves the image or is hidden.
        seed: Chooses all else.
        seconds: How long.
        image_wh: Width and height, pixels; speeds go with the width.
    """

    def __init__(self, kind: str, objects: int, seed: int, seconds: float = 10.0, image_wh: WH = IMAGE_WH) -> None:
        rng = np.random.default_rng((seed, objects, sorted(KINDS).index(kind)))
        self.name = kind
        self.frames = round(seconds * RATE_HZ)
        self._image_wh = image_wh
        self._unit = image_wh[0] / IMAGE_WH[0]
        self._camera_xy = self._camera(rng)
        self._canvas = self._photograph(rng)
        low, high = (60.0, 140.0) if objects > 4 else (90.0, 260.0)
        sides = rng.uniform(low, high, objects) * self._unit
        self._sprites = [KINDS[kind](rng, float(side)) for side in sides]
        self._paths = [self._path(rng) for _ in range(objects)]
        self._blur = float(rng.uniform(0.6, 1.4)) * self._unit
        shape = (image_wh[1] + _EDGE_PX, image_wh[0] + _EDGE_PX, 3)
        self._noise = rng.normal(0.0, rng.uniform(2.0, 6.0), shape).astype(np.int16)

    def shots(self) -> Iterator[Shot]:
        """Render frame after frame."""
        ids, gone, next_id = list(range(len(self._sprites))), [0] * len(self._sprites), len(self._sprites)
        for index in range(self.frames):
            rgb, boxes = self._drawn(index)
            truth = []
            for thing, box in enumerate(boxes):
                if box is None:
                    gone[thing] += 1
                    continue
                if gone[thing] > _ABSENT_S * RATE_HZ:
                    ids[thing], next_id = next_id, next_id + 1
                gone[thing] = 0
                x, y = self._paths[thing].centres_xy[index]
                size = float(self._paths[thing].sizes[index])
                truth.append(TrueBox(ids[thing], self._sprites[thing].label, box, (float(x), float(y)), size))
            yield Shot(frame_at(rgb, index / RATE_HZ), tuple(truth))

    def _drawn(self, index: int) -> tuple[NDArray[np.uint8], list[XYXY | None]]:
        width, height = self._image_wh
        x, y = self._camera_xy[index] + _PAN_PX * self._unit + _EDGE_PX
        rgb = _window(self._canvas, float(x), float(y), self._image_wh)
        owner = np.zeros((height, width), np.uint8)
        regions, whole = [], []
        for number, (sprite, path) in enumerate(zip(self._sprites, self._paths, strict=True), start=1):
            region, area = _paint(rgb, owner, number, sprite, path, index)
            regions.append(region)
            whole.append(area)
        if self._blur > 0.3:
            rgb = np.asarray(cv2.GaussianBlur(rgb, (5, 5), self._blur), np.uint8)
        rng = np.random.default_rng((index, width))
        left, top = rng.integers(0, _EDGE_PX, 2)
        noisy = cv2.add(rgb, self._noise[top : top + height, left : left + width], dtype=cv2.CV_8U)
        boxes = [
            _visible_box(owner, number, region, area)
            for number, (region, area) in enumerate(zip(regions, whole, strict=True), start=1)
        ]
        return np.asarray(noisy, np.uint8), boxes

    def _camera(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Pan to and fro, with a hand's or a road's shake; (n, 2) pixels, its speed 50 to 150 px/s at the most."""
        times = np.arange(self.frames) / RATE_HZ
        path = np.zeros((self.frames, 2))
        for axis, share in ((0, 1.0), (1, 0.35)):
            reach = (_PAN_PX - 12.0) * share
            speed = rng.uniform(50.0, 150.0) * share
            path[:, axis] = reach * np.sin(times * speed / reach + rng.uniform(0, 2 * math.pi))
            for _ in range(2):
                rate = 2 * math.pi * rng.uniform(2.0, 6.0)
                path[:, axis] += rng.uniform(15.0, 50.0) / rate * np.sin(rate * times + rng.uniform(0, 2 * math.pi))
        return path * self._unit

    def _photograph(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        photos = evaluation_photos()
        photo = photos[int(rng.integers(len(photos)))]
        margin = 2 * (_PAN_PX * self._unit + _EDGE_PX)
        width, height = math.ceil(self._image_wh[0] + margin), math.ceil(self._image_wh[1] + margin)
        scale = max(width / photo.shape[1], height / photo.shape[0])
        large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(large[:height, :width])

    def _path(self, rng: np.random.Generator) -> _Path:
        """Wander at 50 to 200 px/s, folded back at the borders; rock, and grow or shrink by up to 20 % a second.

        Rocking is by 3 to 10 degrees to each side in 4 to 8 s: a box tells little of a thing that spins.
        """
        times = np.arange(self.frames) / RATE_HZ
        heading = rng.uniform(0, 2 * math.pi) + rng.uniform(0.2, 1.2) * np.sin(
            2 * math.pi * times / rng.uniform(3.0, 8.0) + rng.uniform(0, 2 * math.pi)
        )
        steps = rng.uniform(50.0, 200.0) * self._unit / RATE_HZ * np.stack([np.cos(heading), np.sin(heading)], -1)
        wh = np.array(self._image_wh, np.float64)
        margin = 0.13 * wh
        walked = np.cumsum(steps, 0) + rng.uniform(0.15, 0.85, 2) * wh
        folded = np.abs((walked - margin) % (2 * (wh - 2 * margin)) - (wh - 2 * margin))
        centres = margin + folded - self._camera_xy
        period_s = rng.uniform(4.0, 8.0)
        growth = rng.uniform(0.05, 0.2) * period_s / (2 * math.pi)
        sizes = np.exp(growth * np.sin(2 * math.pi * times / period_s + rng.uniform(0, 2 * math.pi)))
        rocking = math.radians(rng.uniform(3.0, 10.0))
        angles = rocking * np.sin(2 * math.pi * times / rng.uniform(4.0, 8.0) + rng.uniform(0, 2 * math.pi))
        return _Path(centres, angles, sizes)


def frame_at(rgb: NDArray[np.uint8], at_s: float) -> Frame:
    """Give a picture its time in a film."""
    nanoseconds = round(at_s * 1e9)
    return Frame(rgb, FrameHeader(1 + nanoseconds // 10**9, nanoseconds % 10**9, "camera"), "/film", at_s)


def _window(canvas: NDArray[np.uint8], left: float, top: float, wh: WH) -> NDArray[np.uint8]:
    """Look at a part of the canvas, to a fraction of a pixel; four times as fast as a warp."""
    x, y = math.floor(left), math.floor(top)
    part = canvas[y : y + wh[1] + 1, x : x + wh[0] + 1]
    across = cv2.addWeighted(part[:, :-1], 1.0 - (left - x), part[:, 1:], left - x, 0.0)
    return np.asarray(cv2.addWeighted(across[:-1], 1.0 - (top - y), across[1:], top - y, 0.0), np.uint8)


def _paint(
    rgb: NDArray[np.uint8], owner: NDArray[np.uint8], number: int, sprite: Sprite, path: _Path, index: int
) -> tuple[tuple[slice, slice] | None, float]:
    """Lay a thing over the picture; returns where, and how many pixels it has, those outside of the image too."""
    size, angle = float(path.sizes[index]), float(path.angles[index])
    centre = path.centres_xy[index]
    half = size * sprite.rgba.shape[0] * 0.71 + 2.0
    left, top = (max(0, math.floor(value - half)) for value in centre)
    right, bottom = (min(side, math.ceil(v + half)) for side, v in zip(owner.shape[::-1], centre, strict=True))
    area = sprite.area * size * size
    if right <= left or bottom <= top:
        return None, area
    middle = (sprite.rgba.shape[0] - 1) / 2
    turn = size * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shift = centre - (left, top) - turn @ (middle, middle)
    matrix = np.hstack([turn, shift[:, None]])
    wh = (right - left, bottom - top)
    where = (slice(top, bottom), slice(left, right))
    drawn = cv2.warpAffine(sprite.rgba, matrix, wh, flags=cv2.INTER_LINEAR)
    alpha = drawn[..., 3].astype(np.float32) / 255.0
    colour, behind = np.ascontiguousarray(drawn[..., :3]), np.ascontiguousarray(rgb[where])
    rgb[where] = cv2.blendLinear(colour, behind, alpha, 1.0 - alpha)
    owner[where][alpha > 0.5] = number
    return where, area


def _visible_box(owner: NDArray[np.uint8], number: int, where: tuple[slice, slice] | None, area: float) -> XYXY | None:
    if where is None:
        return None
    mask = owner[where] == number
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size or np.count_nonzero(mask) < _MIN_VISIBLE * area:
        return None
    left, top = where[1].start, where[0].start
    return float(left + columns[0]), float(top + rows[0]), float(left + columns[-1] + 1), float(top + rows[-1] + 1)
