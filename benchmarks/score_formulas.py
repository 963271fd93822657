"""Formulas that were compared to find the score of `vlm_perception/replies/scores.py`, which is the last of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from vlm_perception.replies.scores import FORMULA, raw_score
from vlm_perception.replies.token_evidence import Evidence


def score_by(formula: str, evidence: Evidence) -> float | None:
    """Score one object's evidence by a key of `FORMULAS`, uncalibrated, 0..1; None without coordinate tokens."""
    if not evidence.coordinates:
        return None
    # Rounding may lift the log-probability of a sure token above 0.
    return min(1.0, max(0.0, FORMULAS[formula](evidence)))


def _mean(logprobs: Sequence[float]) -> float:
    return math.exp(math.fsum(logprobs) / len(logprobs))


def _product(logprobs: Sequence[float]) -> float:
    return math.exp(math.fsum(logprobs))


def coordinate_mean(evidence: Evidence) -> float:
    """Geometric mean of the probabilities of the digits."""
    return _mean(evidence.coordinates)


def coordinate_product(evidence: Evidence) -> float:
    """Probability of exactly these digits, given the text before each."""
    return _product(evidence.coordinates)


def coordinate_min(evidence: Evidence) -> float:
    """Probability of the least sure digit."""
    return math.exp(min(evidence.coordinates))


def label_mean(evidence: Evidence) -> float:
    """Geometric mean over the label's tokens; of the digits for an object without a label."""
    return _mean(evidence.label or evidence.coordinates)


def label_product(evidence: Evidence) -> float:
    """Probability of exactly this label; the mean of the digits for an object without a label."""
    return _product(evidence.label) if evidence.label else coordinate_mean(evidence)


def begin(evidence: Evidence) -> float:
    """Probability that this object was begun; the mean of the digits where nothing tells."""
    return _product(evidence.begin) if evidence.begin else coordinate_mean(evidence)


def coordinate_begin(evidence: Evidence) -> float:
    """Geometric mean of `coordinate_mean` and `begin`."""
    return math.sqrt(coordinate_mean(evidence) * begin(evidence))


def label_begin(evidence: Evidence) -> float:
    """Probability of beginning the object and giving it this label; parts without tokens are left out."""
    if not evidence.label and not evidence.begin:
        return coordinate_mean(evidence)
    return _product((*evidence.label, *evidence.begin))


def all_mean(evidence: Evidence) -> float:
    """Geometric mean over all tokens of the three kinds."""
    return _mean((*evidence.coordinates, *evidence.label, *evidence.begin))


def three_product(evidence: Evidence) -> float:
    """The product's own formula."""
    return raw_score(evidence) or 0.0


FORMULAS: Mapping[str, Callable[[Evidence], float]] = MappingProxyType(
    {
        **{
            formula.__name__: formula
            for formula in (
                coordinate_mean,
                coordinate_product,
                coordinate_min,
                label_mean,
                label_product,
                begin,
                coordinate_begin,
                label_begin,
                all_mean,
            )
        },
        FORMULA: three_product,
    }
)
