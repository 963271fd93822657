"""What a file is, told by its first bytes, over the formats as their writers begin them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from vlm_perception.frames.signatures import signature_of, signature_of_bytes


def saved(file_format: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, file_format)
    return stream.getvalue()


def ftyp(*brands: bytes) -> bytes:
    body = brands[0] + bytes(4) + b"".join(brands[1:])
    return (len(body) + 8).to_bytes(4, "big") + b"ftyp" + body + bytes(32)


@pytest.mark.parametrize(
    ("head", "name", "medium"),
    [
        *((saved(name), name, "image") for name in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "QOI")),
        (saved("JPEG2000"), "JPEG2000", "image"),
        (ftyp(b"avif", b"mif1"), "AVIF", "image"),
        (ftyp(b"mif1", b"avif"), "AVIF", "image"),
        (ftyp(b"heic", b"mif1"), "HEIF", "image"),
        (ftyp(b"mif1", b"heic"), "HEIF", "image"),
        (ftyp(b"msf1", b"hevc"), "HEIF", "image"),
        (ftyp(b"isom", b"iso2", b"avc1"), "MP4", "video"),
        (ftyp(b"qt  "), "MP4", "video"),
        (ftyp(b"M4V ", b"mif1"), "MP4", "video"),
        (b"\0\0\0\x08wide" + bytes(8), "QuickTime", "video"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI", "video"),
        (b"\x1aE\xdf\xa3" + bytes(20), "Matroska", "video"),
        (b"G" + bytes(187) + b"G", "MPEG", "video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL photo", "other"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera's raw photo", "other"),
        (ftyp(b"crx "), "a camera's raw photo", "other"),
        (b"%PDF-1.7\n", "a PDF document", "other"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "a web page", "other"),
        (b'<?xml version="1.0"?>\n<svg xmlns="">', "an SVG drawing", "other"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "other"),
        (b"PK\x03\x04" + bytes(8), "an archive", "other"),
        (b"\x89MCAP0\r\n", "a bag", "other"),
        (b"#ROSBAG V2.0\n", "a bag of ROS 1", "other"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "macOS's notes about a file", "other"),
    ],
)
def test_the_first_bytes_tell_what_it_is(head: bytes, name: str, medium: str) -> None:
    signature = signature_of_bytes(head)
    assert signature is not None
    assert (signature.name, signature.medium, bool(signature.remedy)) == (name, medium, medium == "other")


@pytest.mark.parametrize(
    "head", [b"", b"BM", b"BMW is a maker of cars", b"P", b"G", b"Plain text\n", b"RIFF\0\0\0\0WAVE", b"{}"]
)
def test_what_only_looks_like_one_is_nothing_known(head: bytes) -> None:
    assert signature_of_bytes(head) is None


def test_a_pipe_keeps_its_first_bytes_for_its_reader(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert signature_of(pipe) is None
    assert signature_of(tmp_path / "missing") is None
