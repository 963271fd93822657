"""The number a counting prompt gets: said in the reply's sentence, or else the length of its list."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_perception.types import Answer, DetectedObject, ParsedAnswer, Task

_UNDER_20 = (
    "zero one two three four five six seven eight nine ten eleven twelve "
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_ONES = _UNDER_20.split()
_TENS = [f"{stem}ty" for stem in ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")]
_WORDS = {word: value for value, word in enumerate(_ONES)}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_WORDS |= {"no": 0, "none": 0, "dozen": 12}
_TENS_AND_ONES = rf"(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES[1:10])}))?"
# In ASCII, because without case an i is also a dotless one.
_ENGLISH = rf"\b(?ai:{_TENS_AND_ONES}|{'|'.join(_WORDS)})\b"
# Not in decimals, identifiers, ordinals or list markers; 一 not in 一共 and its like, not after 第.
_DIGITS = r"(?<![A-Za-z0-9_.])(?<!\d,)\d{1,6}(?![\d%]|[.,]\d|st\b|nd\b|rd\b|th\b)(?![.)]\s+\S+.*\n\s*\d+[.)])"
_HAN = r"没有|(?<!第)(?!一[共起些样直般边旁定下])[零〇一二两三四五六七八九十百]+"
_QUANTITY = re.compile(rf"{_ENGLISH}|{_DIGITS}|{_HAN}")
_OPENS_LIST = re.compile(r"[\[{［｛]")
_TOTAL_BEFORE = re.compile(r"(?i:\b(?:total|altogether|count)\b[^.\n\d]{0,24}|[共计][^。\n\d]{0,4})\Z")
_TOTAL_AFTER = re.compile(r"(?i:[^.,\n\d]{0,24}?\b(?:in total|in all|altogether)\b)")


@dataclass(frozen=True, slots=True)
class Count:
    """The answer to "how many".

    Attributes:
        number: What was said, else how many were listed; None when neither can be told.
        agrees: Whether the said number is the number of listed objects; None when none was said.
    """

    number: int | None = None
    agrees: bool | None = None


def count_answer(task: Task, answer: Answer, parsed: ParsedAnswer, kept: Sequence[DetectedObject]) -> Count:
    """Count as the model did.

    Args:
        task: What was asked; only `Task.COUNT` is counted.
        answer: The reply; a list that was cut off is no count.
        parsed: What stands in the reply, before any score threshold: the model's number is compared
            with the model's list.
        kept: Objects that are published; their number is the count where no number was said.
    """
    if task is not Task.COUNT:
        return Count()
    said = count_of(parsed.text, parsed.objects)
    if said is not None:
        return Count(said, said == len(parsed.objects))
    # A finished list without a sentence is an answer too; a cut-off one is not, nor is nothing behind the thinking.
    written = answer.text.rpartition(parsed.thinking)[2] if parsed.thinking else answer.text
    listed = bool(parsed.objects) or not (parsed.rejects or parsed.text or not _OPENS_LIST.search(written))
    return Count(len(kept)) if answer.finish_reason == "stop" and listed else Count()


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
    if quantity.isascii():
        return sum(_WORDS[word] for word in re.split(r"[- ]", quantity.lower()))
    return 0 if quantity == "没有" else _han_value(quantity)


def _han_value(numeral: str) -> int:
    """Read numerals below a thousand, such as 十二, 二十三 or 一百零五."""
    total, digit = 0, None
    for value in (int(unicodedata.numeric(character)) for character in numeral.replace("两", "二")):
        if value < 10:
            digit = 10 * (digit or 0) + value
        else:
            total += (1 if digit is None else digit) * value
            digit = None
    return total + (digit or 0)
