"""Which tokens of a reply speak for one of its objects, and how sure the model was of each.

Three kinds: the digits of its coordinates, its label, and the decision to begin it rather than to
end the list. A token that lies across two of these speaks for both: its probability is that of
both together, and cannot be parted.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlm_perception.replies.candidates import LABEL_KEYS
from vlm_perception.replies.lenient_json import BOX_KEYS, COORDINATE_KEYS
from vlm_perception.types import Answer, DetectedObject

Span = tuple[int, int]

# Answers to Chinese prompts may bring full-width signs; one character stays one character.
_HALF_WIDTH = str.maketrans("：，［］｛｝（）", ":,[]{}()")
# Strings, which may hold anything, and the signs between them.
_JSON_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?|“[^”\n]*”|[{}\[\]:,]')
_GROUP = re.compile(r"[\[{][^\[\]{}]*[\]}]")
# A number that is no part of a name such as x1 or bbox_2d.
_NUMBER = re.compile(r"(?<![^\W\d])(?<![\d_.])\d+(?:\.\d+)?")
_N = r"[-+]?\d+(?:\.\d+)?"
_PAIRS = re.compile(rf"\(\s*{_N}\s*,\s*{_N}\s*\)[\s,]*\(\s*{_N}\s*,\s*{_N}\s*\)")
_FOUR = re.compile(rf"{_N}(?:\s*,\s*{_N}){{3}}")
_TWO = re.compile(rf"{_N}\s*,\s*{_N}")
_TAG = re.compile(r"<points?\s[^<>]*>(?:[^<]*(?=</points?>))?")
_TAG_NUMBER = re.compile(r"""\b[xy]\d*\s*=\s*["']?\s*(\d[\d.]*)""")
# Keys of coordinates that have one each.
_SPREAD_KEY = re.compile(r"[xy][012]?|[xy]_?(?:min|max)|left|top|right|bottom|w|h|width|height")
_QUOTES = "\"'“”"
_STRUCTURE = frozenset(" \t\r\n,[")
_AFTER_OBJECT = frozenset("}]>)")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Natural log-probabilities of one object's tokens, in the order of the reply.

    A kind whose tokens are missing, or whose log-probabilities are not finite, is empty.

    Attributes:
        coordinates: Tokens that hold a digit of its numbers.
        label: Tokens that hold a character of the name the model wrote.
        begin: Tokens between the object before (or the opening of the list) and its first content.
    """

    coordinates: tuple[float, ...] = ()
    label: tuple[float, ...] = ()
    begin: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where one object's evidence stands: character ranges of the reply, `begin` None if nowhere."""

    coordinates: tuple[Span, ...] = ()
    label: tuple[Span, ...] = ()
    begin: Span | None = None


def gather_evidence(objects: Sequence[DetectedObject], answer: Answer) -> tuple[Evidence, ...]:
    """Collect the tokens of each object.

    Args:
        objects: Parsed from `answer.text`, each with its `span` and `part`.
        answer: The reply so far; later text changes nothing for objects that are complete.

    Returns:
        One `Evidence` an object, in the same order.
    """
    # Special tokens leave no text and belong to no object.
    tokens = tuple(token for token in answer.tokens if token.end > token.start)
    ends = [token.end for token in tokens]
    text = answer.text.translate(_HALF_WIDTH)

    def logprobs(spans: Sequence[Span], *, digits_only: bool = False) -> tuple[float, ...]:
        found: dict[int, float] = {}
        for start, stop in spans:
            # Token ends rise, so the tokens of one range are found without reading the others.
            for index in range(bisect_left(ends, start + 1), len(tokens)):
                token = tokens[index]
                if token.start >= stop:
                    break
                if not digits_only or any(map(str.isdigit, text[max(token.start, start) : min(token.end, stop)])):
                    found[index] = token.logprob
        values = tuple(found[index] for index in sorted(found))
        return values if all(map(math.isfinite, values)) else ()

    gathered = []
    for item in objects:
        places = _locate(text, item)
        begin = (places.begin,) if places.begin else ()
        gathered.append(
            Evidence(logprobs(places.coordinates, digits_only=True), logprobs(places.label), logprobs(begin))
        )
    return tuple(gathered)


def locate(text: str, item: DetectedObject) -> Places:
    """Find where one object's numbers, name and beginning stand in the reply it was parsed from."""
    return _locate(text.translate(_HALF_WIDTH), item)


def _locate(text: str, item: DetectedObject) -> Places:
    if text.startswith("{", item.span[0]):
        return _locate_in_json(text, item)
    tag_start = text.rfind("<", 0, item.span[0] + 1)
    tag = _TAG.match(text, tag_start) if tag_start >= 0 else None
    if tag is not None and tag.end() >= item.span[0]:
        return _locate_in_tag(text, item, tag)
    return _locate_in_text(text, item)


def _locate_in_json(text: str, item: DetectedObject) -> Places:
    values = [(key, value) for key, value in _own_values(text, item.span) if value[0] < value[1]]
    groups = _groups(text, values)
    label = _label_in_json(text, values, item.part, len(groups))
    if not groups:
        return Places(label=label)
    if 0 < item.part < len(groups):
        # Another box of the same item: it begins where the numbers of the one before end.
        own = groups[item.part]
        return Places(own, label, (groups[item.part - 1][-1][1], own[0][0]))
    plain = [value[0] for _, value in values if text[value[0]] not in "[{"]
    content = min([groups[0][0][0], *plain])
    # Where the parser counted otherwise, all numbers of the item are what is sure to hold its own.
    own = groups[0] if item.part == 0 else tuple(number for group in groups for number in group)
    return Places(own, label, (_structure_start(text, item.span[0]), content))


def _own_values(text: str, span: Span) -> Iterator[tuple[str, Span]]:
    """Yield keys and where their values stand, without those of nested objects; quotes are left out."""
    depth, key, last, value_start = 0, "", "", -1
    for piece in _JSON_PIECE.finditer(text, *span):
        sign = piece.group()
        if sign in (",", "}") and depth == 1 and value_start >= 0:
            yield key, _bare(text, (value_start, piece.start()))
            value_start = -1
        if sign in ("{", "["):
            depth += 1
        elif sign in ("}", "]"):
            depth -= 1
        elif sign == ":" and depth == 1 and value_start < 0:
            key, value_start = last, piece.end()
        elif sign[0] in _QUOTES and value_start < 0:
            last = sign.strip(_QUOTES)
    if value_start >= 0:
        yield key, _bare(text, (value_start, span[1]))


def _bare(text: str, span: Span) -> Span:
    """Take white space and one pair of quotes off."""
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end and text[start] in _QUOTES:
        start += 1
        if start < end and text[end - 1] in _QUOTES:
            end -= 1
    return start, end


def _groups(text: str, values: Sequence[tuple[str, Span]]) -> list[tuple[Span, ...]]:
    """Part the numbers of one item into its boxes and points, in the order in which the parser judges them."""
    groups = []
    for wanted in COORDINATE_KEYS:
        for key, value in values:
            if key == wanted:
                groups += _groups_of_key(text, key, value)
    if groups:
        return groups
    spread = [number for key, value in values if _SPREAD_KEY.fullmatch(key) for number in _numbers(text, value)]
    return [tuple(spread)] if spread else []


def _groups_of_key(text: str, key: str, value: Span) -> list[tuple[Span, ...]]:
    lists = [_numbers(text, match.span()) for match in _GROUP.finditer(text, *value)] or [_numbers(text, value)]
    lists = [numbers for numbers in lists if numbers]
    if key in BOX_KEYS and len(lists) % 2 == 0 and all(len(numbers) == 2 for numbers in lists):
        # Corners as two pairs.
        return [first + second for first, second in zip(lists[::2], lists[1::2], strict=True)]
    return lists


def _label_in_json(text: str, values: Sequence[tuple[str, Span]], part: int, parts: int) -> tuple[Span, ...]:
    named = {key: value for key, value in values if key in LABEL_KEYS and text[slice(*value)] != "null"}
    label = next((named[key] for key in LABEL_KEYS if key in named), None)
    if label is None:
        return ()
    if text[label[0]] != "[":
        return (label,)
    names = tuple(_bare(text, match.span()) for match in _JSON_PIECE.finditer(text, *label) if match[0][0] in _QUOTES)
    # As many names as boxes: one each.
    return names[part : part + 1] if len(names) == parts else names


def _locate_in_tag(text: str, item: DetectedObject, tag: re.Match[str]) -> Places:
    """Read `<points x1= y1= ... alt=>name</points>`; the span of one point of several is its own two numbers."""
    numbers = [match.span(1) for match in _TAG_NUMBER.finditer(text, *tag.span())]
    own = tuple(number for number in numbers if item.span[0] <= number[0] < item.span[1])
    # The name after the tag, which is the one the parser takes, stands last.
    label = _label_in_text(text, item, tag.span())
    if not own:
        return Places(label=label)
    before = [number[1] for number in numbers if number[1] <= item.span[0]]
    start = before[-1] if before else _structure_start(text, tag.start())
    return Places(own, label, (start, own[0][0]))


def _locate_in_text(text: str, item: DetectedObject) -> Places:
    """Read `x1,y1,x2,y2 name` lines, bare lists, and `name(x1,y1),(x2,y2)` with or without marks."""
    patterns = (_PAIRS, _FOUR) if item.xyxy is not None else (_TWO,)
    runs = [match.span() for pattern in patterns for match in pattern.finditer(text, *item.span)]
    if not runs:
        return Places()
    own = _numbers(text, runs[0])
    label = _label_in_text(text, item, item.span)
    content = min([own[0][0], *(start for start, _ in label if start >= item.span[0])])
    begin = _structure_start(text, item.span[0], of_text=True)
    return Places(own, label, (begin, content) if begin < content else None)


def _label_in_text(text: str, item: DetectedObject, span: Span) -> tuple[Span, ...]:
    label = item.label.translate(_HALF_WIDTH)
    if not label:
        return ()
    # Several boxes may share a name on their line, before or after them.
    line = text.rfind("\n", 0, span[0]) + 1, max(span[1], text.find("\n", span[1]))
    places = (text.rfind(label, *span), text.rfind(label, line[0], span[0]), text.find(label, span[1], line[1]))
    named = next((place for place in places if place >= 0), -1)
    return ((named, named + len(label)),) if named >= 0 else ()


def _structure_start(text: str, start: int, *, of_text: bool = False) -> int:
    """Go back over what leads to an object: the comma after the one before, or the list's bracket.

    White space is part of it after another object, and line ends where nothing else parts objects.
    """
    at = start
    while at > 0 and text[at - 1] in _STRUCTURE:
        at -= 1
    if (at > 0 and text[at - 1] in _AFTER_OBJECT) or (of_text and "\n" in text[at:start]):
        return at
    while at < start and text[at].isspace():
        at += 1
    return at


def _numbers(text: str, span: Span) -> tuple[Span, ...]:
    return tuple(match.span() for match in _NUMBER.finditer(text, *span))
