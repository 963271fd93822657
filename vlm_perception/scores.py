"""From token log-probabilities to one score per object."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from vlm_perception.answers import coordinate_ranges
from vlm_perception.types import Answer, DetectedObject, Token


def score_objects(objects: Sequence[DetectedObject], answer: Answer) -> tuple[DetectedObject, ...]:
    """Give each object exp(mean log-probability) of its coordinate tokens.

    The score is **uncalibrated**: it orders objects by how sure the model was of the digits it
    wrote, 0..1, and is no probability of being right.

    Args:
        objects: Objects parsed from `answer.text`, each with its `span` in it.
        answer: The reply with its tokens; an engine that gives no tokens leaves scores at None.

    Returns:
        The same objects in the same order, scored where tokens carry their coordinates.
    """
    tokens = tuple(token for token in answer.tokens if token.end > token.start)
    ends = [token.end for token in tokens]
    return tuple(replace(found, score=_score(answer.text, found.span, tokens, ends)) for found in objects)


def _score(text: str, span: tuple[int, int], tokens: Sequence[Token], ends: Sequence[int]) -> float | None:
    logprobs = []
    for start, stop in coordinate_ranges(text, span):
        # Token ends rise, so the tokens of one range are found without reading the others.
        for index in range(bisect_left(ends, start + 1), len(tokens)):
            token = tokens[index]
            if token.start >= stop:
                break
            if any(map(str.isdigit, text[max(token.start, start) : min(token.end, stop)])):
                logprobs.append(token.logprob)
    if not logprobs or not all(map(math.isfinite, logprobs)):
        return None
    return min(1.0, math.exp(math.fsum(logprobs) / len(logprobs)))
