"""Photographs bundled with scikit-image and scikit-learn, split into training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Odd shapes of one photograph laid over another: edges of every form that are no drawn thing.
_PATCHES = 6

_TRAINING = {
    "skimage.data": ("astronaut.png", "brick.png", "grass.png", "gravel.png", "chelsea.png", "ihc.png", "moon.png",
                     "motorcycle_left.png", "coins.png", "page.png"),
    "sklearn.datasets.images": ("china.jpg",),
}  # fmt: skip
_EVALUATION = {
    "skimage.data": ("coffee.png", "rocket.jpg", "camera.png"),
    "sklearn.datasets.images": ("flower.jpg",),
}


@cache
def training_photos() -> tuple[NDArray[np.uint8], ...]:
    """(h, w, 3) uint8 RGB pictures that training may draw on."""
    return _load(_TRAINING)


class VariedPhotos(Sequence[NDArray[np.uint8]]):
    """One photograph for `random_scene`, another one each time it is looked at.

    Args:
        rng: Source of chance, drawn from only when a scene takes the photograph.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        return varied_photo(self._rng)


def varied_photo(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make a picture of the training photographs that nobody has seen.

    A dozen photographs are soon known by heart, and then a cup in a new one is taken for a circle: 28 of 30 false boxes
    of the first edition lay on photographs. So they are cut, turned, mirrored, recoloured and laid over each other.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    picture = _piece(rng)
    for _ in range(int(rng.integers(_PATCHES)) if rng.random() < 0.5 else 0):
        _lay_over(picture, _piece(rng), rng)
    return picture


def _piece(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A cut of a training photograph, 160 to 480 pixels wide, in other colours."""
    photos = training_photos()
    photo = photos[int(rng.integers(len(photos)))]
    photo = np.rot90(photo, int(rng.integers(4)))[:, :: 1 if rng.random() < 0.5 else -1]
    height, width = photo.shape[:2]
    share = float(rng.uniform(0.25, 1.0))
    cut_h, cut_w = int(height * share), int(width * share * float(rng.uniform(0.7, 1.0)))
    top, left = int(rng.integers(height - cut_h + 1)), int(rng.integers(width - cut_w + 1))
    wide = int(rng.integers(160, 481))
    size = (wide, max(64, round(wide * cut_h / cut_w)))
    cut = np.ascontiguousarray(photo[top : top + cut_h, left : left + cut_w])
    resized = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if cut_w > wide else cv2.INTER_CUBIC)
    hsv = cv2.cvtColor(resized, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + float(rng.uniform(0, 180)) * (rng.random() < 0.7)) % 180
    hsv[..., 1] *= float(rng.uniform(0.4, 1.5))
    hsv[..., 2] = 255 * (hsv[..., 2] / 255) ** float(rng.uniform(0.6, 1.6))
    return np.asarray(cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def _lay_over(picture: NDArray[np.uint8], other: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Lay a piece over a part of a picture, in an odd shape with a soft or a hard border."""
    height, width = picture.shape[:2]
    wide, high = (max(24, int(size * float(rng.uniform(0.1, 0.5)))) for size in (width, height))
    left, top = int(rng.integers(max(1, width - wide))), int(rng.integers(max(1, height - high)))
    part = picture[top : top + high, left : left + wide]
    high, wide = part.shape[:2]
    turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 14))))
    reach = rng.uniform(0.4, 1.0, len(turn))
    corners = np.stack([(1 + reach * np.cos(turn)) * wide / 2, (1 + reach * np.sin(turn)) * high / 2], axis=1)
    mask = np.zeros((high, wide), np.float32)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1.0)
    if rng.random() < 0.5:
        mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.7, 4.0)))
    patch = cv2.resize(other, (wide, high), interpolation=cv2.INTER_AREA)
    part[:] = (part * (1 - mask[..., None]) + patch * mask[..., None]).astype(np.uint8)


@cache
def evaluation_photos() -> tuple[NDArray[np.uint8], ...]:
    """(h, w, 3) uint8 RGB pictures that only the evaluation draws on."""
    return _load(_EVALUATION)


def _load(names: dict[str, tuple[str, ...]]) -> tuple[NDArray[np.uint8], ...]:
    pictures = []
    for package, files_of_package in names.items():
        for name in files_of_package:
            data = np.frombuffer(files(package).joinpath(name).read_bytes(), np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
            if picture is None:
                raise OSError(f"{package}/{name} is not a readable picture: reinstall {package.split('.')[0]}")
            pictures.append(np.asarray(picture, np.uint8))
    return tuple(pictures)
