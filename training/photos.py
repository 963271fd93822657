"""Photographs bundled with scikit-image and scikit-learn, split into training and evaluation."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

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
