"""What a file is, told by its first bytes: names and endings of files are often wrong. No decoder needed."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Room for the brands of an ISO container and for the blanks in front of a page's first tag.
_HEAD_BYTES = 512
_PHOTO_REMEDY = "save it as JPEG or PNG"
_FETCH_REMEDY = "fetch the file itself; this came in its place"

Medium = Literal["image", "video", "other"]


@dataclass(frozen=True, slots=True)
class Signature:
    """What the first bytes of a file say.

    Attributes:
        name: Such as `JPEG` or `PDF`; of images it is Pillow's name of the format.
        medium: `other` is neither an image nor a video that is read.
        remedy: What to do about a file that is not read; empty for images and videos.
    """

    name: str
    medium: Medium
    remedy: str = ""


def _image(name: str) -> Signature:
    return Signature(name, "image")


def _video(name: str) -> Signature:
    return Signature(name, "video")


def _photo(name: str) -> Signature:
    return Signature(name, "other", _PHOTO_REMEDY)


def _other(name: str, remedy: str) -> Signature:
    return Signature(name, "other", remedy)


ROS2_BAG = _other("a bag", "vlm-detect reads it; or play it, and let the node listen to its topics")
_PACKED = _other("an archive", "unpack it and name what is in it")
_RAW_PHOTO = _photo("a camera's raw photo")
# The longer beginnings first where one is the beginning of another.
_BEGINNINGS: tuple[tuple[bytes, Signature], ...] = (
    (b"\xff\xd8\xff", _image("JPEG")),
    (b"\x89PNG\r\n\x1a\n", _image("PNG")),
    (b"GIF87a", _image("GIF")),
    (b"GIF89a", _image("GIF")),
    (b"II*\x00\x10\x00\x00\x00CR", _RAW_PHOTO),
    (b"II*\x00", _image("TIFF")),
    (b"MM\x00*", _image("TIFF")),
    (b"II+\x00", _image("TIFF")),
    (b"MM\x00+", _image("TIFF")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", _image("JPEG2000")),
    (b"\xff\x4f\xff\x51", _image("JPEG2000")),
    (b"\x00\x00\x01\x00", _image("ICO")),
    (b"8BPS", _image("PSD")),
    (b"qoif", _image("QOI")),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", _photo("a JPEG XL photo")),
    (b"\xff\x0a", _photo("a JPEG XL photo")),
    (b"FUJIFILMCCD-RAW", _RAW_PHOTO),
    (b"IIRO", _RAW_PHOTO),
    (b"IIRS", _RAW_PHOTO),
    (b"IIU\x00", _RAW_PHOTO),
    (b"\x1aE\xdf\xa3", _video("Matroska")),
    (b"FLV\x01", _video("FLV")),
    (b"0&\xb2u\x8ef\xcf\x11", _video("ASF")),
    (b"\x00\x00\x01\xba", _video("MPEG")),
    (b"\x00\x00\x01\xb3", _video("MPEG")),
    (b"\x00\x00\x00\x01\x67", _video("H.264")),
    (b"\x00\x00\x00\x01\x40\x01", _video("H.265")),
    (b"YUV4MPEG2 ", _video("YUV4MPEG")),
    (b"DKIF", _video("IVF")),
    (b"%PDF-", _other("a PDF document", "export its pages as PNG")),
    (b"%!PS", _other("a PostScript document", "export its pages as PNG")),
    (b"\xc5\xd0\xd3\xc6", _other("a PostScript document", "export its pages as PNG")),
    (b"version https://git-lfs", _other("a Git LFS pointer", "fetch the file itself with `git lfs pull`")),
    (b"PK\x03\x04", _PACKED),
    (b"\x1f\x8b", _PACKED),
    (b"7z\xbc\xaf\x27\x1c", _PACKED),
    (b"Rar!\x1a\x07", _PACKED),
    (b"\xfd7zXZ\x00", _PACKED),
    (b"(\xb5/\xfd", _PACKED),
    (b"\x89MCAP0\r\n", ROS2_BAG),
    (b"SQLite format 3\x00", ROS2_BAG),
    (b"#ROSBAG V", _other("a bag of ROS 1", "convert it: rosbags-convert --src OLD.bag --dst NEW")),
    (b"\x00\x05\x16\x07", _other("macOS's notes about a file", "name the file itself, without `._` in front")),
)
_PPM = re.compile(rb"P[1-7Ff][\s#]")
_PAGES = (b"<!doctype html", b"<html", b"<?xml", b"<svg", b"<head", b"<body")
# Of the brands of an ISO container, those of still photographs; all others are videos.
_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ISO_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def signature_of(path: Path) -> Signature | None:
    """Tell what a file is.

    Args:
        path: Only a regular file is opened: what a pipe or device gives would be lost for its reader.

    Returns:
        None when its bytes are those of nothing known, it is no regular file, or it cannot be opened.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return signature_of_bytes(file.read(_HEAD_BYTES))
    except (OSError, ValueError):
        # A reader says it better.
        return None


def signature_of_bytes(head: bytes) -> Signature | None:
    """As `signature_of`, of the first bytes of a file; 512 are enough."""
    if head[4:8] == b"ftyp":
        return _of_iso_container(head)
    if head[:4] in (b"RIFF", b"RIFX"):
        return {b"WEBP": _image("WEBP"), b"AVI ": _video("AVI")}.get(head[8:12])
    for beginning, signature in _BEGINNINGS:
        if head.startswith(beginning):
            return signature
    # A short beginning, so more of the header is looked at: four bytes that are always 0.
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return _image("BMP")
    if _PPM.match(head):
        return _image("PPM")
    if head[4:8] in _ISO_BOXES:
        return _video("QuickTime")
    if head[:1] == b"G" and head[188:189] == b"G":
        return _video("MPEG")
    if head[4:5] == b"G" and head[196:197] == b"G":
        return _video("MPEG")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_PAGES):
        if b"<svg" in text:
            return _other("an SVG drawing", "export it as PNG")
        return _other("a web page", _FETCH_REMEDY)
    return None


def _of_iso_container(head: bytes) -> Signature:
    size = int.from_bytes(head[:4], "big")
    # The main brand, then, behind its version, those that it is compatible with.
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))]
    if brands[0] == b"crx ":
        return _RAW_PHOTO
    if brands[0] in _AVIF_BRANDS or (brands[0] in _HEIF_BRANDS and any(brand in _AVIF_BRANDS for brand in brands)):
        return _image("AVIF")
    return _image("HEIF") if brands[0] in _HEIF_BRANDS else _video("MP4")
