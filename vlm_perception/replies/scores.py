"""From token log-probabilities to one score per object.

A score orders objects by how sure the model was of what it wrote. It is **no probability of being
right**, unless the checkpoint's card holds a `Calibration` that was fitted for it. Which formula is
best was measured: see `docs/answers.md` and `python -m benchmarks.scores`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from vlm_perception.replies.token_evidence import Evidence, gather_evidence
from vlm_perception.types import Answer, Calibration, DetectedObject

Formula = Callable[[Evidence], float]

DEFAULT_FORMULA = "three_product"
# Log-odds of 0 and 1 are infinite; nothing is surer than this.
_SUREST = 1e-6


def score_objects(
    objects: Sequence[DetectedObject], answer: Answer, formula: str = DEFAULT_FORMULA
) -> tuple[DetectedObject, ...]:
    """Give each object a score, 0..1, from the log-probabilities of its own tokens.

    Args:
        objects: Objects parsed from `answer.text`, each with its `evidence` in it.
        answer: The reply with its tokens; an engine that gives no tokens leaves scores at None.
            Its calibration is applied to boxes when it was fitted for this formula.
        formula: Key of `FORMULAS`.

    Returns:
        The same objects in the same order; None where no token carries the object's coordinates.
    """
    calibration = answer.calibration
    scored = []
    for item in objects:
        score = raw_score(gather_evidence(item, answer), formula)
        # Fitted on boxes alone: for points the tokens hardly tell right from wrong.
        if score is not None and item.xyxy is not None and calibration is not None and calibration.formula == formula:
            score = calibrated(score, calibration)
        scored.append(replace(item, score=score))
    return tuple(scored)


def are_calibrated(objects: Sequence[DetectedObject], answer: Answer, formula: str = DEFAULT_FORMULA) -> bool:
    """Whether `score_objects` calibrates the scores of all these objects; those of points it never does."""
    fitted = answer.calibration is not None and answer.calibration.formula == formula
    return fitted and all(item.xyxy is not None for item in objects)


def raw_score(evidence: Evidence, formula: str = DEFAULT_FORMULA) -> float | None:
    """Score one object's evidence, uncalibrated, 0..1; None without coordinate tokens."""
    if not evidence.coordinates:
        return None
    # Rounding may lift the log-probability of a sure token above 0.
    return min(1.0, max(0.0, FORMULAS[formula](evidence)))


def calibrated(score: float, calibration: Calibration) -> float:
    """Map a raw score to a chance of being right: log-odds / temperature + bias (Platt scaling).

    Args:
        score: Raw score, 0..1.
        calibration: Fitted on scenes with known truth, see `training/calibrate.py`.
    """
    # 1 / (1 + exp(-x)), written so that nothing overflows.
    return 0.5 + 0.5 * math.tanh((log_odds(score) / calibration.temperature + calibration.bias) / 2.0)


def log_odds(score: float) -> float:
    """Return ln(p / (1 - p)), with `score` kept away from 0 and 1 so that it is finite."""
    inside = min(1.0 - _SUREST, max(_SUREST, score))
    return math.log(inside / (1.0 - inside))


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
    """`coordinate_mean` times the probability of label and beginning; parts without tokens are left out."""
    return coordinate_mean(evidence) * _product((*evidence.label, *evidence.begin))


FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
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
            three_product,
        )
    }
)
