"""What a reply says in words: the text outside its objects, and the number it gives."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlm_perception.types import DetectedObject

_FENCE = re.compile(r"```[a-zA-Z]*")
_EMPTY_LIST = re.compile(r"[\[［]\s*[\]］]")
_LIST_SIGNS = re.compile(r"[\[\],\s［］，]{2,}")
_BEHIND_OBJECT = "],］， \t\r\n"
_BEFORE_OBJECT = "[,［， \t\r\n"

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate(_ONES)}
_WORDS.update({word: 10 * value for value, word in enumerate(_TENS, start=2)})
_WORDS.update({"no": 0, "none": 0, "dozen": 12})
_HAN_DIGITS = dict(zip("零〇一二两三四五六七八九", (0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_HAN_UNITS = {"十": 10, "百": 100}

_TENS_AND_ONES = rf"(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES[1:10])}))?"
_ENGLISH = rf"\b(?:{_TENS_AND_ONES}|{'|'.join(_WORDS)})\b"
# Not in decimals, identifiers, ordinals or list markers; 一 not in 一共 and its like, not after 第.
_DIGITS = r"(?<![A-Za-z0-9_.])(?<!\d,)\d{1,6}(?![\d%]|[.,]\d|st\b|nd\b|rd\b|th\b)(?![.)]\s+\S+.*\n\s*\d+[.)])"
_HAN = r"没有|(?<!第)(?!一[共起些样直般边旁定下])[零〇一二两三四五六七八九十百]+"
_QUANTITY = re.compile(rf"(?i:{_ENGLISH})|{_DIGITS}|{_HAN}")
_TOTAL_BEFORE = re.compile(r"(?i:\b(?:total|altogether|count)\b[^.\n\d]{0,24}|[共计][^。\n\d]{0,4})\Z")
_TOTAL_AFTER = re.compile(r"(?i:[^.,\n\d]{0,24}?\b(?:in total|in all|altogether)\b)")


def prose_between(text: str, taken: Sequence[tuple[int, int]]) -> str:
    """Return the words around the objects of a reply, without fences and list signs.

    Args:
        text: The whole reply.
        taken: Disjoint character ranges of its objects and rejects, rising.
    """
    if not taken and not _EMPTY_LIST.search(text):
        return text.strip()
    prose, broken_line = "", False
    ends = [0, *(end for _, end in taken)]
    starts = [*(start for start, _ in taken), len(text)]
    for index, (begin, end) in enumerate(zip(ends, starts, strict=True)):
        gap = text[begin:end]
        if index and not gap.strip(_BEHIND_OBJECT):
            broken_line = broken_line or "\n" in gap
            continue
        gap = _LIST_SIGNS.sub(_without_empty_list, _FENCE.sub("\n", gap))
        kept = gap.lstrip(_BEHIND_OBJECT) if index else gap.lstrip()
        broken_line = broken_line or "\n" in gap[: len(gap) - len(kept)]
        kept = kept.rstrip(_BEFORE_OBJECT) if index < len(taken) else kept.rstrip()
        if any(character.isalnum() for character in kept):
            prose += ("\n" if broken_line else " ") + kept if prose else kept
            broken_line = "\n" in gap[len(gap.rstrip(_BEFORE_OBJECT)) :]
    return prose


def _without_empty_list(match: re.Match[str]) -> str:
    signs = match[0].replace("［", "[").replace("］", "]")
    opened = signs.find("[")
    return "\n" if 0 <= opened < signs.rfind("]") else match[0]


def count_of(text: str, objects: Sequence[DetectedObject]) -> int | None:
    """Read the number a counting answer gives, in digits, English words or Chinese numerals.

    With several numbers, one that is called the total wins, then one that agrees with the listed
    objects, then the first.

    Args:
        text: Prose of the reply, without its objects.
        objects: Objects of the same reply.

    Returns:
        The number, or None when the prose gives none.
    """
    matches = list(_QUANTITY.finditer(text))
    if not matches:
        return None
    for match in matches:
        before = text[max(0, match.start() - 32) : match.start()]
        if _TOTAL_BEFORE.search(before) or _TOTAL_AFTER.match(text, match.end()):
            return _value(match[0])
    values = [_value(match[0]) for match in matches]
    return len(objects) if len(objects) in values and objects else values[0]


def _value(quantity: str) -> int:
    if quantity.isdecimal():
        return int(quantity)
    if quantity == "没有":
        return 0
    if quantity[0] in _HAN_DIGITS or quantity[0] in _HAN_UNITS:
        return _han_value(quantity)
    return sum(_WORDS[word] for word in re.split(r"[- ]", quantity.lower()))


def _han_value(numeral: str) -> int:
    """Read numerals below a thousand, such as 十二, 二十三 or 一百零五."""
    total, digit = 0, None
    for character in numeral:
        if character in _HAN_UNITS:
            total += (1 if digit is None else digit) * _HAN_UNITS[character]
            digit = None
        else:
            digit = (digit or 0) * 10 + _HAN_DIGITS[character]
    return total + (digit or 0)
