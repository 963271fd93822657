"""Find the fonts that draw a text, whatever its scripts.

Searched in this order: the file named by `VLM_PERCEPTION_FONT`, the font inside Pillow (basic
Latin), well-known fonts of wide coverage, then installed fonts whose file name holds the name of
the script (`NotoSansThai-Regular.ttf` for Thai). Nothing is downloaded.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FONT_VARIABLE = "VLM_PERCEPTION_FONT"
PILLOWS_OWN = ""

_log = logging.getLogger(__name__)

_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
# File names in order of preference: Latin, Greek and Cyrillic first, then Chinese, Japanese and Korean, then others.
_WIDE = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "uming.ttc",
    "ipag.ttf",
    "TakaoGothic.ttf",
    "NanumGothic.ttf",
    "FreeSans.ttf",
    "NotoEmoji-Regular.ttf",
    "Symbola_hint.ttf",
    "unifont.ttf",
)
_STYLED = re.compile(r"bold|italic|oblique|light|thin|black|medium|mono|serif|condensed", re.IGNORECASE)
_PROBE_PX = 16


class FontRun(NamedTuple):
    """A piece of text and the path of the font that has all of it; `PILLOWS_OWN` is built in."""

    text: str
    path: str


@lru_cache(maxsize=2048)
def font_runs(text: str) -> tuple[FontRun, ...] | None:
    """Split a text into pieces that one font each can draw.

    One font for the whole text is preferred, then one for each word, then one for each character
    with its marks. Signs that are neither letters nor digits (emoji) and that no font has are left
    out.

    Returns:
        Pieces in reading order; None when no font has some letter, which is logged once a script.
    """
    missing = [character for character in text if _font_of(character) is None]
    letters = [character for character in missing if unicodedata.category(character)[0] in "LMN"]
    if letters:
        _warn_once(f"{_script(letters[0]) or 'some'} letters", "such labels are drawn as numbers")
        return None
    if missing:
        _warn_once("some signs, such as emoji", "they are left out")
        text = " ".join("".join(character for character in text if character not in missing).split())
    for pieces in ([text], re.findall(r"\S+\s*", text), _clusters(text)):
        paths = [_font_of(piece) for piece in pieces]
        if None not in paths:
            return _merged(FontRun(piece, path or PILLOWS_OWN) for piece, path in zip(pieces, paths, strict=True))
    return None


@lru_cache(maxsize=64)
def load_font(path: str, size_px: int) -> Font:
    """Load a font that `font_runs` named, for lines of text `size_px` high.

    Raises:
        OSError: The file is not a font of scalable outlines.
    """
    return ImageFont.load_default(size_px) if path == PILLOWS_OWN else ImageFont.truetype(path, size_px)


def _merged(runs: Iterator[FontRun]) -> tuple[FontRun, ...]:
    """Join neighbours that share a font, because joined letters and marks are shaped together."""
    joined: list[FontRun] = []
    for run in runs:
        if joined and (joined[-1].path == run.path or not run.text.strip()):
            joined[-1] = FontRun(joined[-1].text + run.text, joined[-1].path)
        else:
            joined.append(run)
    return tuple(joined)


def _clusters(text: str) -> list[str]:
    """Split into characters, each with the marks and joiners that follow it."""
    clusters: list[str] = []
    for character in text:
        if clusters and unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf"):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


@lru_cache(maxsize=8192)
def _font_of(piece: str) -> str | None:
    needed = {character for character in piece if not character.isspace() and unicodedata.category(character) != "Cf"}
    return next((path for path in _candidates(frozenset(map(_script, needed))) if needed <= _characters(path)), None)


def _script(character: str) -> str:
    """Return the first word of the character's Unicode name, such as "THAI"; empty without one."""
    return unicodedata.name(character, "").partition(" ")[0].partition("-")[0]


@lru_cache(maxsize=512)
def _candidates(scripts: frozenset[str]) -> tuple[str, ...]:
    installed = _installed()
    wide = [installed[name] for name in _WIDE if name in installed]
    regular = [name for name in sorted(installed) if not _STYLED.search(name)]
    wanted = [script.lower() for script in sorted(scripts) if len(script) > 2]
    by_script = [installed[name] for name in regular if any(script in name.lower() for script in wanted)]
    return tuple(dict.fromkeys([*_named_by_user(), PILLOWS_OWN, *wide, *by_script]))


@lru_cache(maxsize=1)
def _named_by_user() -> tuple[str, ...]:
    named = os.environ.get(FONT_VARIABLE, "")
    if named and not _characters(named):
        _log.warning("%s=%r is not a usable font; name a .ttf, .otf or .ttc file with outlines", FONT_VARIABLE, named)
        return ()
    return (named,) if named else ()


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    """Return the paths of the fonts on this machine by file name."""
    # matplotlib, which supervision brings, has DejaVu Sans: Latin, Greek, Cyrillic and Arabic everywhere.
    folders = [Path(matplotlib.get_data_path(), "fonts", "ttf"), *(Path(folder).expanduser() for folder in _FOLDERS)]
    return {path.name: str(path) for folder in folders for path in sorted(folder.rglob("*.[to]t[fc]"))}


@lru_cache(maxsize=64)
def _characters(path: str) -> frozenset[str]:
    """Return what a font can draw; nothing for one that cannot be used (colour bitmaps, damaged)."""
    if path == PILLOWS_OWN:
        return frozenset(map(chr, range(0x20, 0x7F)))
    try:
        load_font(path, _PROBE_PX)
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=256)
def _warn_once(what: str, consequence: str) -> None:
    _log.warning(
        "no installed font can draw %s: %s. Install a font that has them, such as fonts-noto-cjk (Chinese, Japanese, "
        "Korean), fonts-noto-core (most other scripts) or fonts-symbola (signs), or name a font file in %s",
        what,
        consequence,
        FONT_VARIABLE,
    )
