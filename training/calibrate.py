"""Fit a checkpoint's calibration and write it into its card: `python -m training.calibrate`.

Platt scaling: the chance that an answered box is right is taken as
sigmoid(log-odds(raw score) / temperature + bias), with both numbers fitted by maximum likelihood
(J. Platt, "Probabilistic outputs for support vector machines", 1999). The scenes come from seeds of
their own, neither of training nor of evaluation; their photographs are those of the evaluation,
because a model is surer on those that it was trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sklearn.linear_model import LogisticRegression

from training.evaluate import family_of, make_cases
from training.scenes import FIRST_TRAINING_SEED
from training.scored import Asked, ask_all
from vlm_perception.engines.model_card import write_calibration
from vlm_perception.replies.scores import FORMULA, log_odds, raw_score
from vlm_perception.types import Calibration

# Evaluation's seeds begin at 500,000, training's at 1,000,000.
FIRST_SEED = 700_000
SCENES = 150
# A fit on fewer right or wrong boxes says little.
FEWEST = 20


def fit(scores: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Fit temperature and bias by maximum likelihood.

    Args:
        scores: Raw scores, 0..1.
        right: Whether each box was right.

    Raises:
        ValueError: Too few right or wrong boxes, or scores that do not rise with being right.
    """
    n_right = sum(right)
    if min(n_right, len(right) - n_right) < FEWEST:
        raise ValueError(
            f"{n_right} right and {len(right) - n_right} wrong boxes, a fit needs {FEWEST} of each: ask more scenes"
        )
    line = LogisticRegression(C=1e9, max_iter=1000).fit([[log_odds(score)] for score in scores], list(right))
    slope, bias = float(line.coef_[0][0]), float(line.intercept_[0])
    if slope <= 0.01:
        raise ValueError(f"right boxes score no higher than wrong ones by {FORMULA} (slope {slope:.3f}): no fit")
    return Calibration(FORMULA, 1.0 / slope, bias)


def scored(asked: Sequence[Asked]) -> tuple[list[float], list[bool]]:
    """Return raw score and rightness of every answered box that has a score."""
    boxes = [found for each in asked for found in each.found if found.is_box]
    pairs = [(raw_score(found.evidence), found.right) for found in boxes]
    known = [(score, right) for score, right in pairs if score is not None]
    return [score for score, _ in known], [right for _, right in known]


def calibrate(folder: Path, scenes: int = SCENES) -> Calibration:
    """Ask a checkpoint about calibration scenes, fit, and write the result into its card.

    Raises:
        ValueError: See `fit`; also when the scenes would run into the seeds of training.
    """
    if FIRST_SEED + scenes > FIRST_TRAINING_SEED:
        raise ValueError(f"{scenes} scenes reach training's seeds: ask at most {FIRST_TRAINING_SEED - FIRST_SEED}")
    scores, right = scored(ask_all(folder, make_cases(scenes, FIRST_SEED, family_of(folder))))
    fitted_on = f"{len(scores)} boxes ({sum(right)} right) in {scenes} drawn calibration scenes"
    calibration = replace(fit(scores, right), fitted_on=fitted_on)
    write_calibration(folder, calibration)
    return calibration


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("models/tiny"))
    parser.add_argument("--scenes", type=int, default=SCENES)
    args = parser.parse_args()
    print(f"wrote {calibrate(args.folder, args.scenes)} into the card of {args.folder}")


if __name__ == "__main__":
    main()
