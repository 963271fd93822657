"""From token log-probabilities to one score per object.

A score orders objects by how sure the model was of what it wrote. It is **no probability of being
right**, unless the checkpoint's card holds a `Calibration` that was fitted for it. The formula was
chosen by measuring ten of them: see `docs/answers.md` and `python -m benchmarks.scores`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vlm_perception.replies.token_evidence import Evidence, gather_evidence
from vlm_perception.types import Answer, Calibration, DetectedObject

FORMULA = "three_product"
# Log-odds of 0 and 1 are infinite; nothing is surer than this.
_SUREST = 1e-6


def score_objects(objects: Sequence[DetectedObject], answer: Answer) -> tuple[DetectedObject, ...]:
    """Give each object a score, 0..1, from the log-probabilities of its own tokens.

    Args:
        objects: Objects read from `answer.text`.
        answer: The reply with its tokens; an engine that gives no tokens leaves scores at None.
            Its calibration is applied to boxes when it was fitted for this formula.

    Returns:
        The same objects in the same order; None where no token carries the object's coordinates.
    """
    scored = []
    for item in objects:
        score = raw_score(gather_evidence(item, answer))
        # Fitted on boxes of things alone: for points the tokens hardly tell right from wrong.
        if score is not None and answer.calibration is not None and are_calibrated([item], answer):
            score = calibrated(score, answer.calibration)
        scored.append(replace(item, score=score))
    return tuple(scored)


def are_calibrated(objects: Sequence[DetectedObject], answer: Answer) -> bool:
    """Whether `score_objects` calibrates the scores of all these objects; those of points and texts it never does."""
    fitted = answer.calibration is not None and answer.calibration.formula == FORMULA
    return fitted and all(item.xyxy is not None and not item.kind for item in objects)


def raw_score(evidence: Evidence) -> float | None:
    """Score one object's evidence, uncalibrated, 0..1; None without coordinate tokens.

    Geometric mean of the probabilities of the digits, times the probability of the label and of the
    beginning; parts without tokens are left out. Of a text that was read it is the geometric mean again, or a
    paragraph would count as unsure for its length.
    """
    if not evidence.coordinates:
        return None
    digits, text = _mean(evidence.coordinates), _mean(evidence.text)
    # Rounding may lift the log-probability of a sure token above 0.
    return min(1.0, digits * text * math.exp(math.fsum((*evidence.label, *evidence.begin))))


def _mean(logprobs: Sequence[float]) -> float:
    """Return the geometric mean of probabilities, 1 for none."""
    return math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else 1.0


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
