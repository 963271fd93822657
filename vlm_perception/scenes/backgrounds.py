"""Backgrounds: plain and textured walls, floors and photographs, drawn with numpy and OpenCV."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vlm_perception.scenes.spec import RGB, Background

_Pixels = NDArray[np.float32]


def draw_background(spec: Background, image_wh: tuple[int, int]) -> _Pixels:
    """Draw what lies behind the objects.

    Args:
        spec: Kind, two colours, seed and, for kind "photo", the picture.
        image_wh: Size to draw at, pixels.

    Returns:
        (h, w, 3) float32 RGB in 0..255.
    """
    rng = np.random.default_rng(spec.seed)
    if spec.photo is not None:
        return _crop(spec.photo, image_wh, rng)
    amount = _MAKERS[spec.kind](image_wh, rng)
    return _mix(spec.rgb, spec.rgb2, amount)


def _mix(first: RGB, second: RGB, amount: NDArray[np.float32]) -> _Pixels:
    """Blend two colours by `amount` (h, w) in 0..1."""
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    mixed: _Pixels = a + (b - a) * amount[..., None]
    return mixed


def _plain(image_wh: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    return np.full((image_wh[1], image_wh[0]), rng.random(), np.float32)


def _gradient(image_wh: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    corners = rng.random((2, 2)).astype(np.float32)
    return np.asarray(cv2.resize(corners, image_wh, interpolation=cv2.INTER_LINEAR), np.float32)


def _clouds(image_wh: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    total = np.zeros((image_wh[1], image_wh[0]), np.float32)
    for cells, weight in ((3, 0.5), (8, 0.3), (20, 0.2)):
        coarse = rng.random((cells, cells)).astype(np.float32)
        total += weight * cv2.resize(coarse, image_wh, interpolation=cv2.INTER_CUBIC)
    return total


def _grain(image_wh: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    coarse = rng.random((int(rng.integers(30, 110)), int(rng.integers(30, 110)))).astype(np.float32)
    strength = rng.uniform(0.2, 0.7)
    base = np.asarray(cv2.resize(coarse, image_wh, interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(base * strength, np.float32)


def _planks(image_wh: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    count = int(rng.integers(3, 14))
    shades = rng.random(count).astype(np.float32) * np.float32(rng.uniform(0.3, 0.9))
    lines = np.repeat(shades, -(-max(image_wh) // count))
    if rng.random() < 0.5:
        return np.ascontiguousarray(np.broadcast_to(lines[: image_wh[0]], (image_wh[1], image_wh[0])))
    return np.ascontiguousarray(np.broadcast_to(lines[: image_wh[1], None], (image_wh[1], image_wh[0])))


def _tiles(image_wh: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    across = int(rng.integers(3, 12))
    down = max(2, round(across * image_wh[1] / image_wh[0]))
    grid = (np.indices((down, across)).sum(0) % 2).astype(np.float32)
    grid = grid * np.float32(rng.uniform(0.15, 0.6)) + rng.random((down, across)).astype(np.float32) * 0.15
    return np.asarray(cv2.resize(grid, image_wh, interpolation=cv2.INTER_NEAREST), np.float32)


def _crop(photo: NDArray[np.uint8], image_wh: tuple[int, int], rng: np.random.Generator) -> _Pixels:
    """A random cut of the photograph with the aspect ratio of the image, scaled to it."""
    height, width = photo.shape[:2]
    aspect = image_wh[0] / image_wh[1]
    cut_w = min(width, height * aspect) * rng.uniform(0.5, 1.0)
    cut_h = cut_w / aspect
    x, y = rng.uniform(0, width - cut_w), rng.uniform(0, height - cut_h)
    cut = photo[int(y) : int(y + cut_h) + 1, int(x) : int(x + cut_w) + 1]
    scaled = cv2.resize(cut, image_wh, interpolation=cv2.INTER_AREA if cut_w > image_wh[0] else cv2.INTER_LINEAR)
    return np.asarray(scaled, np.float32)


_MAKERS: dict[str, Callable[[tuple[int, int], np.random.Generator], NDArray[np.float32]]] = {
    "plain": _plain,
    "gradient": _gradient,
    "clouds": _clouds,
    "grain": _grain,
    "planks": _planks,
    "tiles": _tiles,
}
