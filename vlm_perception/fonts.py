"""Find a font that can draw a text in its own script."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_log = logging.getLogger(__name__)

_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
# File names in order of preference; the first covers Latin, Greek and Cyrillic, the others CJK.
_NAMES = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "uming.ttc",
)
# Far in a private area, where no font has a glyph: this is how a missing one looks.
_UNASSIGNED = "\U0010fff0"


def font_for(text: str) -> str | None:
    """Return the path of a font that has every character of a text.

    Returns:
        The path; an empty string for Pillow's own font; None when no installed font will do.
    """
    characters = frozenset(text) - {" "}
    if all(character.isascii() for character in characters):
        return ""
    for path in _installed():
        if all(_has_glyph(path, character) for character in characters):
            return path
    _warn_once()
    return None


def load_font(path: str, size_px: int) -> Font:
    """Load what `font_for` named."""
    return ImageFont.truetype(path, size_px) if path else ImageFont.load_default(size_px)


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    found = {path.name: str(path) for folder in _FOLDERS for path in folder.rglob("*.tt[fc]")}
    return tuple(found[name] for name in _NAMES if name in found)


@lru_cache(maxsize=4096)
def _has_glyph(path: str, character: str) -> bool:
    font = ImageFont.truetype(path, 16)
    return bytes(font.getmask(character)) != bytes(font.getmask(_UNASSIGNED))


@lru_cache(maxsize=1)
def _warn_once() -> None:
    _log.warning("no installed font can draw the labels; install one, such as fonts-noto-cjk or fonts-wqy-zenhei")
