"""One typed text -> the phrases in it, in the ways people write several things down."""

from __future__ import annotations

import re
import unicodedata

_SEPARATOR = re.compile(r"[;；]")
_LINES = re.compile(r"^\s*(?:[-*•·]|\d{1,2}[.)、])\s*(\S.*)$")
# A list as programs write it: ['cup', "bottle"], (cup, bottle), "cup", "bottle".
_BRACKETS = (("[", "]"), ("(", ")"), ("{", "}"), ("【", "】"))
_QUOTED = r"\"[^\"]*\"|'[^']*'|“[^”]*”|‘[^’]*’|「[^」]*」|`[^`]*`"
_QUOTED_LIST = re.compile(rf"\s*(?:{_QUOTED})(?:\s*[,，、]\s*(?:{_QUOTED}))+\s*,?\s*")
_ITEM = re.compile(rf"{_QUOTED}|[^,，、]+")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "`": "`", "«": "»", "„": "“", "《": "》"}
_PIPE = re.compile(r"\s*[|｜]\s*")
# As Grounding DINO is asked: "chair . person . dog .", "a cat. a remote control."
_SPACED_DOT = re.compile(r"\s+\.(?:\s+|$)")
_DOT = re.compile(r"\.\s+|\.$")
_MAX_DOTTED_WORDS = 4
_MARKUP = re.compile(r"[<>{}\[\]=]")


def phrases_of(text: str) -> list[str]:
    """Split a text where it lists several things; a comma alone lists none, because phrases hold commas.

    Semicolons, bars, dots between blanks, lists in brackets or quotes, and lines with bullets or numbers do.

    Returns:
        At least one phrase, without the quotes around it.
    """
    lines = [_LINES.match(line) for line in text.splitlines() if line.strip()]
    items = [line[1] for line in lines if line]
    if len(items) < 2 or len(items) < len(lines):
        items = _SEPARATOR.split(text)
    phrases = [unquoted(phrase) for item in items for phrase in _listed(item.strip())]
    return [phrase for phrase in phrases if phrase] or [text]


def unquoted(phrase: str) -> str:
    """Take away quotes around a whole phrase."""
    phrase = phrase.strip()
    while len(phrase) > 2 and _QUOTES.get(phrase[0]) == phrase[-1] and phrase[0] not in phrase[1:-1]:
        phrase = phrase[1:-1].strip()
    return phrase


def names_a_thing(text: str) -> bool:
    """Whether a text may name something to look for: a word, a sign such as an emoji, or one number."""
    return any(unicodedata.category(sign)[0] in "LS" for sign in text) or text.strip().isdecimal()


def _listed(item: str) -> list[str]:
    inside = next((item[1:-1] for opening, end in _BRACKETS if item.startswith(opening) and item.endswith(end)), "")
    if _QUOTED_LIST.fullmatch(inside or item) or (inside and not _MARKUP.search(inside)):
        return [part.strip() for part in _ITEM.findall(inside or item) if part.strip()]
    parts = _PIPE.split(item)
    quotes_stay_whole = all(part.count('"') % 2 == 0 for part in parts)
    if len(parts) > 1 and quotes_stay_whole and all(names_a_thing(p) and not _MARKUP.search(p) for p in parts):
        return parts
    parts = [part for part in _SPACED_DOT.split(item) if part.strip()]
    if len(parts) > 1:
        return parts
    parts = [part for part in _DOT.split(item) if part.strip()]
    if len(parts) > 1 and all(part[0].islower() and len(part.split()) <= _MAX_DOTTED_WORDS for part in parts):
        return parts
    return [item]
