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

from vlm_perception.answers import coordinate_ranges
from vlm_perception.lenient_json import BOX_KEYS, COORDINATE_KEYS
from vlm_perception.reply_forms import LABEL_KEYS, TAG
from vlm_perception.types import Answer, DetectedObject

Span = tuple[int, int]

# Strings, which may hold anything, and the signs between them; Chinese prompts bring full-width ones.
_JSON_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?|“[^”\n]*”|[{}\[\]:,：，]')
_GROUP = re.compile(r"\[[^\[\]]*\]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ALT = re.compile(r"""\balt\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_QUOTES = "\"'“”"
_STRUCTURE = frozenset(" \t\r\n,，[")
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
    text = answer.text

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
        places = locate(text, item.span, item.part)
        begin = (places.begin,) if places.begin else ()
        gathered.append(
            Evidence(logprobs(places.coordinates, digits_only=True), logprobs(places.label), logprobs(begin))
        )
    return tuple(gathered)


def locate(text: str, span: Span, part: int = 0) -> Places:
    """Find where one object's numbers, name and beginning stand.

    Args:
        text: The reply.
        span: `DetectedObject.span`.
        part: `DetectedObject.part`.
    """
    if text[span[0] : span[0] + 1] == "{":
        return _locate_in_json(text, span, part)
    tag_start = span[0] if text.startswith("<", span[0]) else text.rfind("<", 0, span[0])
    tag = TAG.match(text, tag_start) if tag_start >= 0 else None
    if tag is not None and tag.end() >= span[1]:
        return _locate_in_tag(text, span, tag)
    return _locate_in_line(text, span)


def _locate_in_json(text: str, span: Span, part: int) -> Places:
    values = [(key, value) for key, value in _own_values(text, span) if value[0] < value[1]]
    groups = [group for key, value in values if key in COORDINATE_KEYS for group in _groups(text, key, value)]
    named = {key: value for key, value in values if key in LABEL_KEYS and text[slice(*value)] != "null"}
    label = tuple(named[key] for key in LABEL_KEYS if key in named)[:1]
    if not groups:
        return Places(label=label)
    # A count of groups that the parser saw otherwise: all of the item is what is sure to hold it.
    own = groups[part : part + 1] or [tuple(piece for group in groups for piece in group)]
    if part and part < len(groups):
        # The boxes before it in the same item: it begins where the last one's numbers end.
        return Places(own[0], label, (_last_digit(text, groups[part - 1]), _first_digit(text, own[0])))
    plain = [value[0] for _, value in values if text[value[0]] not in "[{"]
    content = min([_first_digit(text, groups[0]), *plain])
    return Places(own[0], label, (_structure_start(text, span[0]), content))


def _own_values(text: str, span: Span) -> Iterator[tuple[str, Span]]:
    """Yield keys and where their values stand, without those of nested objects; quotes are left out."""
    depth, key, last, value_start = 0, "", "", -1
    for piece in _JSON_PIECE.finditer(text, *span):
        sign = piece.group()
        closes = sign in ",，}" and depth == 1
        if closes and value_start >= 0:
            yield key, _bare(text, (value_start, piece.start()))
            value_start = -1
        if sign in ("{", "["):
            depth += 1
        elif sign in ("}", "]"):
            depth -= 1
        elif sign in (":", "：") and depth == 1 and value_start < 0:
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


def _groups(text: str, key: str, value: Span) -> list[tuple[Span, ...]]:
    """Part the numbers of one key into its boxes or points, by the rule of the parser."""
    lists = [match.span() for match in _GROUP.finditer(text, *value)] or [value]
    if key in BOX_KEYS and [len(_NUMBER.findall(text, *each)) for each in lists] == [2, 2]:
        return [tuple(lists)]
    return [(each,) for each in lists]


def _locate_in_tag(text: str, span: Span, tag: re.Match[str]) -> Places:
    numbers = coordinate_ranges(text, span)
    name, alt = tag.span(2), _ALT.search(text, *tag.span(1))
    label = name if name[0] < name[1] else _bare(text, alt.span(1)) if alt else (0, 0)
    if not numbers:
        return Places(label=(label,))
    first = _first_digit(text, numbers)
    before = [match.end() for match in _NUMBER.finditer(text, tag.start(), span[0])]
    # Names of attributes hold digits too; only what stands before this point's own name counts.
    start = before[-1] if span[0] > tag.start() and before else _structure_start(text, tag.start())
    return Places(numbers, (label,) if label[0] < label[1] else (), (start, first))


def _locate_in_line(text: str, span: Span) -> Places:
    numbers = coordinate_ranges(text, span)
    if not numbers:
        return Places()
    start, end = numbers[-1][1], span[1]
    while start < end and not text[start].isalpha():
        start += 1
    label = _bare(text, (start, end))
    first = _first_digit(text, numbers)
    begin = _structure_start(text, span[0], of_line=True)
    return Places(numbers, (label,) if label[0] < label[1] else (), (begin, first) if begin < first else None)


def _structure_start(text: str, start: int, *, of_line: bool = False) -> int:
    """Go back over what leads to an object: the comma after the one before, or the list's bracket.

    White space is part of it after another object, or where nothing else parts objects.
    """
    at = start
    while at > 0 and text[at - 1] in _STRUCTURE:
        at -= 1
    if of_line or (at > 0 and text[at - 1] in _AFTER_OBJECT):
        return at
    while at < start and text[at].isspace():
        at += 1
    return at


def _first_digit(text: str, spans: Sequence[Span]) -> int:
    found = (_NUMBER.search(text, *each) for each in spans)
    return next((match.start() for match in found if match), spans[0][0])


def _last_digit(text: str, spans: Sequence[Span]) -> int:
    """Index after the last digit."""
    numbers = [match.end() for each in spans for match in _NUMBER.finditer(text, *each)]
    return numbers[-1] if numbers else spans[-1][1]
