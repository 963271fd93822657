"""An uploaded file as pixels, or the reason why not in words for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from vlm_perception.engines.families import MAX_ASPECT_RATIO
from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.film_clip import FilmSampling, watch_film
from vlm_perception.frames.pictures import open_image, read_image
from vlm_perception.frames.videos import frame_at, video_length_s
from vlm_perception.types import WH, Clip

MAX_UPLOAD_BYTES = 64 * 1024 * 1024
# 8K is 33 million pixels. More does not help a model that sees one or two million of them.
MAX_IMAGE_PIXELS = 50_000_000
# Fewer pixels than this hold no shape to find.
MIN_SIDE_PX = 8


def read_upload(path: Path, shown_name: str) -> Pixels:
    """Check a file's header, then read it.

    Args:
        path: Where the file lies.
        shown_name: What the user called it; messages name it so, and never the folder.

    Returns:
        (height, width, 3) uint8 RGB, upright.

    Raises:
        ImageError: `missing_file`, `empty`, `undecodable`, `size` or `aspect_ratio`; the text names
            value, limit and remedy.
    """
    _check_size(_header_wh(path, shown_name), shown_name)
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), shown_name), cause=error.cause) from error


def read_moment(path: Path, time_s: float) -> Pixels:
    """Read the frame of an uploaded video that is shown at a time.

    Args:
        path: Where the file lies; messages give its name alone.
        time_s: Time after the first frame, seconds.

    Returns:
        (height, width, 3) uint8 RGB, upright.

    Raises:
        ImageError: `undecodable`.
    """
    with _without_folder(path):
        return frame_at(path, time_s)


def length_s(path: Path) -> float:
    """Estimate how long an uploaded video is.

    Raises:
        ImageError: As `read_moment`.
    """
    with _without_folder(path):
        return video_length_s(path)


def read_film(path: Path, sampling: FilmSampling, note: Callable[[str], object]) -> Clip:
    """Read an uploaded video as a whole.

    Args:
        path: Where the file lies; messages give its name alone.
        sampling: How many frames of it.
        note: Told in words when the video ends early.

    Raises:
        ImageError: As `read_moment`.
    """
    with _without_folder(path):
        return watch_film(path, sampling, lambda text: note(text.replace(str(path), path.name)))[0]


@contextmanager
def _without_folder(path: Path) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), path.name), cause=error.cause) from error


def _header_wh(path: Path, shown_name: str) -> WH:
    """Read width and height without the pixels, so that a huge picture costs no memory."""
    if not path.is_file():
        raise ImageError(f"{shown_name} is no longer here: upload the image again", cause="missing_file")
    if path.stat().st_size == 0:
        raise ImageError(f"{shown_name} holds 0 bytes: choose a JPEG, PNG or WebP image", cause="empty")
    try:
        with open_image(path) as image:
            return image.size
    except ImageError as error:
        if isinstance(error.__cause__, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise ImageError(
                f"{shown_name} is too large ({error.__cause__}): at most {MAX_IMAGE_PIXELS / 1e6:.0f} million pixels "
                f"are read; shrink it",
                cause="size",
            ) from error
        reason = str(error).replace(str(path), shown_name)
        raise ImageError(f"{reason}. Or choose a JPEG, PNG, WebP, BMP or TIFF file", cause="undecodable") from error


def _check_size(image_wh: WH, shown_name: str) -> None:
    width, height = image_wh
    called = f"{shown_name} is {width} x {height} px"
    if min(width, height) < 1 or max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise ImageError(
            f"{called}: one side is more than {MAX_ASPECT_RATIO} times the other, which the model's resize rule "
            f"does not allow; crop it",
            cause="aspect_ratio",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(f"{called}: each side must be at least {MIN_SIDE_PX} px; choose a larger one", cause="size")
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageError(
            f"{called}, {width * height / 1e6:.0f} million pixels, the limit is {MAX_IMAGE_PIXELS / 1e6:.0f} million; "
            f"shrink it",
            cause="size",
        )
