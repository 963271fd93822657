"""Frames from an image, a folder of images or a video, one after the other."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.videos import read_video

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
    yield from _once(path, on_skip)
    while loop:
        yield from _once(path, on_skip)


def is_video(path: Path) -> bool:
    """Whether a file is read as a video: everything that has not the ending of an image."""
    return path.suffix.lower() not in IMAGE_SUFFIXES and not path.is_dir()


def _once(path: Path, on_skip: Callable[[ImageError], None]) -> Iterator[Pixels]:
    if path.is_dir():
        yield from _folder(path, on_skip)
    elif is_video(path):
        for frame in read_video(path):
            yield frame.rgb
    else:
        yield read_image(path)


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
