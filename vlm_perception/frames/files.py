"""Frames from an image, a folder of images or a video, one after the other."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Only for choosing files out of folders; a file that is named itself is tried whatever its ending.
VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


def frames_of(path: Path, loop: bool, on_skip: Callable[[ImageError], None]) -> Generator[Pixels, None, None]:
    """Read frames one at a time.

    Images are turned upright as their EXIF data says. A folder's images come in the order of their
    names; one that cannot be read is skipped.

    Args:
        path: An image, a folder with images, or a video.
        loop: Begin again at the end.
        on_skip: Told about every image of a folder that was skipped.

    Yields:
        (height, width, 3) uint8 RGB.

    Raises:
        ImageError: `missing_file`, `no_images` or `undecodable`; the text names path and remedy.
    """
    if not path.exists():
        raise ImageError(f"{path} does not exist: set path to an image, a folder or a video", cause="missing_file")
    read_once: Callable[[], Iterator[Pixels]] = partial(_video, path)
    if path.is_dir():
        read_once = partial(_folder, path, on_skip)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        read_once = partial(_one, path)
    yield from read_once()
    while loop:
        yield from read_once()


def video_rate_hz(path: Path) -> float | None:
    """The rate a video was recorded at, or None for images and videos that do not say."""
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return None
    capture = cv2.VideoCapture(str(path))
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    return rate_hz if 0.1 <= rate_hz <= 1000.0 else None


def _folder(path: Path, on_skip: Callable[[ImageError], None]) -> Iterator[Pixels]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    readable = 0
    for file in files:
        try:
            rgb = read_image(file)
        except ImageError as error:
            on_skip(error)
            continue
        readable += 1
        yield rgb
    if not readable:
        raise ImageError(
            f"{path} holds no readable image ({len(files)} files end in {', '.join(IMAGE_SUFFIXES)}): "
            f"set path to a folder with images",
            cause="no_images",
        )


def _one(path: Path) -> Iterator[Pixels]:
    yield read_image(path)


def read_image(path: Path) -> Pixels:
    """Read an image file, turned upright as its EXIF data says.

    Returns:
        (height, width, 3) uint8 RGB; grey, 16-bit and palette pictures are converted, transparency is dropped.

    Raises:
        ImageError: `undecodable`: no permission, not an image, or its end is missing.
    """
    try:
        # Not OpenCV first: it fills the missing end of a cut-off JPEG with grey and reports success.
        with Image.open(path) as image:
            if not image.mode.startswith(("I", "F")):
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path} cannot be decoded as an image ({error}): check the file, or save it as JPEG or PNG",
            cause="undecodable",
        ) from error
    return _deep_image(path)


def _deep_image(path: Path) -> Pixels:
    """Read more than 8 bits a channel, which Pillow would clip instead of scaling down."""
    try:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{path} cannot be decoded: {error}", cause="undecodable") from error
    if bgr is None:
        raise ImageError(f"{path} cannot be decoded as an image: save it as JPEG or PNG", cause="undecodable")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _video(path: Path) -> Iterator[Pixels]:
    capture = cv2.VideoCapture(str(path))
    try:
        ok, bgr = capture.read()
        if not ok:
            raise ImageError(
                f"{path} is neither an image ({', '.join(IMAGE_SUFFIXES)}) nor a video that OpenCV can read: "
                f"convert it to MP4 with H.264",
                cause="undecodable",
            )
        while ok:
            yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            ok, bgr = capture.read()
    finally:
        capture.release()
