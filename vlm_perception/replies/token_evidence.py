"""Which tokens of a reply speak for one of its objects, and how sure the model was of each.

Four kinds: the digits of its coordinates, its label, the decision to begin it rather than to end the list, and the
text that was read in its place. A token that lies across two of these speaks for both: its probability is that of both
together, and cannot be parted.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_perception.types import Answer, DetectedObject, Span


@dataclass(frozen=True, slots=True)
class Evidence:
    """Natural log-probabilities of one object's tokens, in the order of the reply.

    A kind whose tokens are missing, or whose log-probabilities are not finite, is empty.

    Attributes:
        coordinates: Tokens that hold a digit of its numbers.
        label: Tokens that hold a character of the name the model wrote.
        begin: Tokens between the object before (or the opening of the list) and its first content.
        text: Tokens that hold a character of the text that was read.
    """

    coordinates: tuple[float, ...] = ()
    label: tuple[float, ...] = ()
    begin: tuple[float, ...] = ()
    text: tuple[float, ...] = ()


def gather_evidence(item: DetectedObject, answer: Answer) -> Evidence:
    """Collect the tokens of one object.

    Args:
        item: Read from `answer.text`.
        answer: The reply so far; later text changes nothing for objects that are complete.
    """
    spans = item.evidence
    return Evidence(
        _logprobs(answer, spans.coordinates, digits_only=True),
        _logprobs(answer, spans.label),
        _logprobs(answer, (spans.begin,)),
        _logprobs(answer, spans.text),
    )


def _logprobs(answer: Answer, spans: Sequence[Span], *, digits_only: bool = False) -> tuple[float, ...]:
    text, tokens = answer.text, answer.tokens
    found: dict[int, float] = {}
    for start, stop in spans:
        # Token ends rise, so the tokens of one range are found without reading the others.
        for index in range(bisect_left(tokens, start + 1, key=lambda token: token.end), len(tokens)):
            token = tokens[index]
            if token.start >= stop:
                break
            # Special tokens leave no text and belong to no object.
            own = text[max(token.start, start) : min(token.end, stop)]
            if own and (not digits_only or any(map(str.isdigit, own))):
                found[index] = token.logprob
    values = tuple(found[index] for index in sorted(found))
    return values if all(map(math.isfinite, values)) else ()
