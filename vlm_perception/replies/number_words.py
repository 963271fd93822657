"""Numbers as words: English to 999,999, German, Spanish and French to 100, Han numerals to 99,999,999."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# From zero on.
_EN, _DE, _ES, _FR = (
    words.split()
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen",
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn "
        "sechzehn siebzehn achtzehn neunzehn",
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis "
        "diecisiete dieciocho diecinueve veinte veintiuno veintidós veintitrés veinticuatro veinticinco "
        "veintiséis veintisiete veintiocho veintinueve",
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize "
        "dix-sept dix-huit dix-neuf",
    )
)
_EN_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_DE_TENS = ["zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]
_ES_TENS = ["treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"]
_FR_TENS = ["vingt", "trente", "quarante", "cinquante", "soixante"]


def _german() -> dict[str, int]:
    words = {word: value for value, word in enumerate(_DE)}
    words |= dict.fromkeys(("ein", "eine", "einen", "einem", "einer"), 1)
    for ten, word in enumerate(_DE_TENS, start=2):
        words[word] = 10 * ten
        words |= {f"{one}und{word}": 10 * ten + value for value, one in enumerate(("ein", *_DE[2:10]), start=1)}
    return words | {"hundert": 100, "einhundert": 100, "dutzend": 12, "kein": 0, "keine": 0, "keinen": 0, "keiner": 0}


def _spanish() -> dict[str, int]:
    words = {word: value for value, word in enumerate(_ES)} | {"un": 1, "una": 1, "veintiún": 21, "veintiuna": 21}
    for ten, word in enumerate(_ES_TENS, start=3):
        words[word] = 10 * ten
        words |= {f"{word} y {one}": 10 * ten + value for value, one in enumerate(_ES[1:10], start=1)}
    return words | {"cien": 100, "docena": 12, "ningún": 0, "ninguno": 0, "ninguna": 0}


def _french() -> dict[str, int]:
    words = {word: value for value, word in enumerate(_FR)} | {"une": 1}
    for ten, word in enumerate(_FR_TENS, start=2):
        words |= {word: 10 * ten, f"{word} et un": 10 * ten + 1, f"{word} et une": 10 * ten + 1}
        words |= {f"{word}-{one}": 10 * ten + value for value, one in enumerate(_FR[2:10], start=2)}
    words |= {f"soixante-{teen}": 60 + value for value, teen in enumerate(_FR[10:], start=10)}
    words |= {"soixante et onze": 71, "quatre-vingts": 80}
    words |= {f"quatre-vingt-{one}": 80 + value for value, one in enumerate(_FR[1:], start=1)}
    return words | {"cent": 100, "douzaine": 12, "aucun": 0, "aucune": 0}


_ENGLISH = {word: value for value, word in enumerate(_EN)} | {w: 10 * t for t, w in enumerate(_EN_TENS, start=2)}
_ENGLISH |= {"none": 0, "no": 0}
_TIMES = {"dozen": 12, "hundred": 100}
WORDS: Mapping[str, Mapping[str, int]] = {"en": _ENGLISH, "de": _german(), "es": _spanish(), "fr": _french()}

_TO_99 = (
    rf"(?:(?:{'|'.join(_EN_TENS)})(?:[- ](?:{'|'.join(_EN[1:10])}))?|{'|'.join(sorted(_EN, key=len, reverse=True))})"
)
_TO_999 = rf"(?:(?:(?:{_TO_99}|an?)[- ])?hundred(?:[- ](?:and[- ])?{_TO_99})?|{_TO_99})"
_EN_PATTERN = (
    rf"(?:(?:(?:{_TO_999}|a)[- ])?thousand(?:[-, ]+(?:and[- ])?{_TO_999})?|(?:{_TO_99}[- ])?dozen|{_TO_999}|none|no)"
)
# In ASCII, because without case an i is also a dotless one.
PATTERNS: Mapping[str, str] = {"en": rf"\b(?ai:{_EN_PATTERN})\b"} | {
    name: rf"\b(?i:{'|'.join(sorted(WORDS[name], key=len, reverse=True))})\b" for name in ("de", "es", "fr")
}
JAPANESE = {
    word: value
    for value, word in enumerate(
        ["ひとつ", "ふたつ", "みっつ", "よっつ", "いつつ", "むっつ", "ななつ", "やっつ", "ここのつ"], start=1
    )
}
HAN = r"[零〇一二三四五六七八九十百千万两兩]+"


def value_of(word: str, language: str) -> int:
    """Read what a pattern of `PATTERNS` or `HAN` has matched."""
    if language == "han":
        return JAPANESE[word] if word in JAPANESE else _han_value(word)
    if language != "en":
        return WORDS[language][word.lower()]
    total = part = 0
    for each in re.split(r"[-, ]+", word.lower()):
        if each in _TIMES:
            part = max(part, 1) * _TIMES[each]
        elif each == "thousand":
            total, part = max(part, 1) * 1000, 0
        elif each not in ("a", "an", "and"):
            part += _ENGLISH[each]
    return total + part


def _han_value(numeral: str) -> int:
    """Read numerals such as 十二, 二十三, 一百零五 or 一万二千."""
    total, part, digit = 0, 0, None
    for value in (int(unicodedata.numeric(character)) for character in numeral.translate({0x4E24: "二", 0x5169: "二"})):
        if value < 10:
            digit = 10 * (digit or 0) + value
        elif value == 10000:
            total, part, digit = (total + part + (digit or 0) or 1) * value, 0, None
        else:
            part += (1 if digit is None else digit) * value
            digit = None
    return total + part + (digit or 0)
