"""Image files through Pillow: one picture, or the frames of an animation and the pages of a document."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.signatures import signature_of

# Pillow knows forty more, some of which start other programs or take any bytes for theirs.
_FORMATS = (
    "JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "ICO", "PSD", "QOI", "TGA", "PCX",
)  # fmt: skip
# Of the others, a second picture is a preview, a depth map or the same in another size.
_MOVING: Final = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")
# What damaged bytes surface as, out of a dozen decoders.
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, EOFError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# TIFF: NewSubfileType, whose bits 0 and 2 mean a smaller copy and a mask, and where else pictures lie.
_SUBFILE_TYPE, _SUB_IFDS, _NO_PAGE = 254, 330, 0b101
_PAGE_S = 1.0
# As browsers do with animations that ask to be shown as fast as can be.
_SHORTEST_S, _DEFAULT_S = 0.011, 0.1


def read_image(path: Path) -> Pixels:
    """Read an image file, turned upright as it says itself; of an animation the first frame.

    Returns:
        (height, width, 3) uint8 RGB; grey, 16-bit and palette pictures are converted, transparency is dropped.

    Raises:
        ImageError: `undecodable`: empty, no permission, not an image, or its end is missing.
    """
    with open_image(path) as image, _image_errors(path):
        image.seek(_frame_numbers(image)[0])
        return _upright_rgb(image)


def count_frames(path: Path) -> int:
    """How many frames or pages an image file has; 1 for a photograph, and when it cannot be told.

    Copies in other sizes, previews, depth maps and masks are none.
    """
    try:
        with open_image(path) as image, _image_errors(path):
            return len(_frame_numbers(image))
    except ImageError:
        return 1


def read_frames(path: Path) -> Iterator[tuple[Image.Image, float]]:
    """Decode the frames of an animation or the pages of a document, one after the other.

    Yields:
        The frame, good until the next one is asked for (`rgb_of` copies it), and how long it is shown,
        seconds; pages are shown for one.

    Raises:
        ImageError: `undecodable`, also at a later frame of a file whose end is missing.
    """
    with open_image(path) as image:
        for number in _with_errors(path, image):
            with _image_errors(path):
                image.seek(number)
                image.load()
            yield image, _shown_s(image)


def rgb_of(path: Path, image: Image.Image) -> Pixels:
    """Copy a frame of `read_frames` as (height, width, 3) uint8 RGB, upright.

    Raises:
        ImageError: `undecodable`.
    """
    with _image_errors(path):
        return _upright_rgb(image)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Read the header of an image file, whatever its name ends in.

    Raises:
        ImageError: `undecodable`; the text says what the file is instead.
    """
    refuse_others(path)
    signature = signature_of(path)
    with _image_errors(path):
        if signature is not None and signature.name == "HEIF":
            image: Image.Image = _open_heif(path)
        else:
            # Loads the formats that are not there from the start, which Pillow itself does only when all others failed.
            Image.init()
            image = Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
    with image:
        yield image


def refuse_others(path: Path) -> None:
    """Refuse what is certainly neither an image nor a video, and say what it is.

    Raises:
        ImageError: `undecodable`.
    """
    if path.is_file() and path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes): fetch or convert it again", cause="undecodable")
    signature = signature_of(path)
    if signature is not None and signature.medium == "other":
        raise ImageError(
            f"{path} is {signature.name}, neither an image nor a video that is read: {signature.remedy}",
            cause="undecodable",
        )


def _open_heif(path: Path) -> Image.Image:
    try:
        # By its name and here: a decoder of 20 MB that is used where somebody has installed it, and no requirement.
        plugin = import_module("pillow_heif")
    except ImportError as error:
        raise ImageError(
            f"{path} is a HEIC photo, for which pillow-heif is not installed: pip install pillow-heif, or save it as "
            f"JPEG or PNG",
            cause="undecodable",
        ) from error
    image: Image.Image = plugin.HeifImageFile(path)
    return image


@contextmanager
def _image_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        signature = signature_of(path)
        what = signature.name if signature is not None and signature.medium == "image" else "an image"
        raise ImageError(
            f"{path} cannot be decoded as {what} ({_reason(path, error)}): check the file, or save it as JPEG or PNG",
            cause="undecodable",
        ) from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        known = signature_of(path) is not None
        return "its header is damaged, or this Pillow cannot read it" if known else "its bytes are those of no image"
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split()) or type(error).__name__


def _with_errors(path: Path, image: Image.Image) -> list[int]:
    with _image_errors(path):
        return _frame_numbers(image)


def _frame_numbers(image: Image.Image) -> list[int]:
    """Places of the frames; never empty."""
    if image.format not in _MOVING:
        return [image.tell()]
    if image.format == "TIFF":
        return _page_numbers(image)
    count = getattr(image, "n_frames", 1)
    # What is shown by programs that know no moving PNG; it may be no part of the animation.
    first = 1 if getattr(image, "default_image", False) and count > 1 else 0
    return list(range(first, count))


def _page_numbers(image: Image.Image) -> list[int]:
    pages = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        tags = getattr(image, "tag_v2", {})
        if not int(tags.get(_SUBFILE_TYPE, 0)) & _NO_PAGE:
            pages.append(number)
        elif number == 0 and _SUB_IFDS in tags:
            # Its boxes would be those of a picture of some 160 pixels.
            raise ValueError("it is a camera's raw photo, and only its preview could be read")
    return pages or [0]


def _shown_s(image: Image.Image) -> float:
    if image.format == "TIFF":
        return _PAGE_S
    shown_s = float(image.info.get("duration") or 0.0) / 1000
    return shown_s if shown_s >= _SHORTEST_S else _DEFAULT_S


def _upright_rgb(image: Image.Image) -> Pixels:
    # First: Pillow turns TIFF here itself, and PNG may say behind its pixels how it is turned.
    image.load()
    eight_bits = _eight_bits(image)
    method = _UPRIGHT.get(_orientation(image))
    return np.array(eight_bits if method is None else eight_bits.transpose(method), np.uint8)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _BROKEN:
        # Broken notes about a picture are no reason to refuse it.
        return 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale more than 8 bits a channel down, which Pillow would clip."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode.startswith(("I", "F")):
        raise ValueError("it holds numbers of 32 bits, not brightness; scale them to 8 or 16 bits")
    return image.convert("RGB")
