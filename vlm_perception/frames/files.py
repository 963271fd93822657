"""Frames from an image, a folder of images or a video, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

from vlm_perception.errors import ImageError
from vlm_perception.frames.encodings import Pixels
from vlm_perception.frames.pictures import count_frames
from vlm_perception.frames.pictures import read_image as read_image
from vlm_perception.frames.signatures import Signature, signature_of
from vlm_perception.frames.videos import read_video

# What an ending promises counts only where the bytes say nothing: a damaged file is told as such, not left out.
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
# These images have no beginning of their own.
_BARE_SUFFIXES = (".pcx", ".tga")
# Formats whose files every reader takes, and how their names end; the first is the usual one.
_USUAL = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}


def frames_of(
    path: Path, loop: bool, on_skip: Callable[[ImageError], None], note: Callable[[str], object] = lambda text: None
) -> Generator[Pixels, None, None]:
    """Read frames one at a time.

    Images are turned upright as their EXIF data says. A folder's images come in the order of their
    names; one that cannot be read is skipped.

    Args:
        path: An image, a folder with images, or a video.
        loop: Begin again at the end.
        on_skip: Told about every image of a folder that was skipped.
        note: Told once and in words what a folder holds besides, and that a video ends early.

    Yields:
        (height, width, 3) uint8 RGB.

    Raises:
        ImageError: `missing_file`, `no_images` or `undecodable`; the text names path and remedy.
    """
    if not path.exists():
        raise ImageError(f"{path} does not exist: set path to an image, a folder or a video", cause="missing_file")
    yield from _once(path, on_skip, note)
    while loop:
        yield from _once(path, on_skip, lambda text: None)


def is_video(path: Path) -> bool:
    """Whether a file has several frames: a video or an animation; its bytes decide, whatever its name ends in."""
    if path.is_dir():
        return False
    signature = signature_of(path)
    if signature is None:
        return path.suffix.lower() not in IMAGE_SUFFIXES + _BARE_SUFFIXES
    return signature.medium == "video" or (signature.medium == "image" and count_frames(path) > 1)


def worth_reading(path: Path) -> bool:
    """Whether a file that was found in a folder is to be read: it is an image or a video, or is called like one."""
    if path.is_dir() or path.name.startswith("."):
        return False
    known = IMAGE_SUFFIXES + VIDEO_SUFFIXES + _BARE_SUFFIXES
    return path.suffix.lower() in known or _is_picture(signature_of(path))


def left_out(paths: Iterable[Path]) -> str:
    """Say in words what is not read of a folder, every kind of it; empty for nothing."""
    folders, kinds = 0, Counter[str]()
    for path in paths:
        if path.is_dir():
            folders += 1
        else:
            kinds["hidden" if path.name.startswith(".") else path.suffix.lower() or "no ending"] += 1
    said = []
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
        said.append(f"{kinds.total()} file{'s' * (kinds.total() > 1)} ({listed})")
    if folders:
        said.append(f"{folders} folder{'s' * (folders > 1)}")
    return " and ".join(said)


def usual_suffix(path: Path) -> str | None:
    """Return how the name of a copy of an image should end, so that every reader knows what it is.

    Returns:
        Its own ending where that fits its bytes; None for kinds that few can read.
    """
    signature = signature_of(path)
    fitting = _USUAL.get(signature.name, ()) if signature is not None else ()
    if path.suffix.lower() in fitting:
        return path.suffix
    return fitting[0] if fitting else None


def _is_picture(signature: Signature | None) -> bool:
    return signature is not None and signature.medium != "other"


def _once(path: Path, on_skip: Callable[[ImageError], None], note: Callable[[str], object]) -> Iterator[Pixels]:
    if path.is_dir():
        yield from _folder(path, on_skip, note)
    elif is_video(path):
        for frame in read_video(path, note=note):
            yield frame.rgb
    else:
        yield read_image(path)


def _folder(path: Path, on_skip: Callable[[ImageError], None], note: Callable[[str], object]) -> Iterator[Pixels]:
    files = sorted(path.iterdir())
    images = [file for file in files if worth_reading(file) and not is_video(file)]
    shown = set(images)
    others = left_out(file for file in files if file not in shown)
    if others and images:
        note(f"{path}: {others} left out; only the images in it are shown")
    readable = 0
    for file in images:
        try:
            rgb = read_image(file)
        except ImageError as error:
            on_skip(error)
            continue
        readable += 1
        yield rgb
    if not readable:
        besides = f", {others}" if others else ""
        raise ImageError(
            f"{path} holds no readable image ({len(images)} files that should be one{besides}): set path to a folder "
            f"with images",
            cause="no_images",
        )
