"""Which score formula parts right boxes from wrong ones best: `python -m benchmarks.scores`.

Asks a checkpoint the evaluation's questions about held-out scenes through the product's own path,
and compares the formulas of `benchmarks/score_formulas.py` on the boxes of all answers, those to
questions about absent things too:

* AP: area under precision over recall of all expected boxes, boxes in the order of their scores;
* AUROC: chance that a right box scores above a wrong one;
* ECE: expected calibration error over ten bins of equal width, of the raw score, and of the score
  calibrated by a fit on the other half of the scenes.

Ranges are the middle 95 % of bootstraps over scenes. Differences from the default are taken within
each bootstrap, so that a range without 0 is a real difference. Prints the tables and writes
`build/benchmarks/scores.json` and `build/benchmarks/scores_reliability.png`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.reliability import BINS, plot
from benchmarks.score_formulas import FORMULAS, score_by
from training.calibrate import fit
from training.evaluate import FIRST_SEED, family_of, make_cases
from training.scored import Asked, ask_all
from vlm_perception.engines.model_card import read_calibration
from vlm_perception.replies.scores import FORMULA, calibrated, raw_score

OUTPUT = Path("build/benchmarks")
THRESHOLDS = tuple(round(0.1 * step, 1) for step in range(10))
MEASURES = ("ap", "auroc", "ece", "ece_fitted")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Boxes:
    """All answered boxes, one element each, and per scene the number of expected boxes."""

    raw: dict[str, Floats]
    fitted: dict[str, Floats]
    right: NDArray[np.bool_]
    scene: NDArray[np.int64]
    expected: Floats


def collect(asked: Sequence[Asked]) -> Boxes:
    """Score every answered box by every formula."""
    boxes = [
        (each.scene, found) for each in asked for found in each.found if found.is_box and found.evidence.coordinates
    ]
    scene = np.array([index for index, _ in boxes])
    right = np.array([found.right for _, found in boxes])
    raw = {name: np.array([score_by(name, found.evidence) for _, found in boxes], float) for name in FORMULAS}
    expected = np.zeros(max(each.scene for each in asked) + 1)
    for each in asked:
        expected[each.scene] += each.expected_boxes
    return Boxes(raw, {name: _cross_fitted(raw[name], right, scene) for name in FORMULAS}, right, scene, expected)


def _cross_fitted(raw: Floats, right: NDArray[np.bool_], scene: NDArray[np.int64]) -> Floats:
    """Calibrate each half of the scenes by a fit on the other half."""
    fitted = np.empty_like(raw)
    for half in (0, 1):
        own = scene % 2 == half
        try:
            calibration = fit(raw[~own].tolist(), right[~own].tolist())
            fitted[own] = [calibrated(score, calibration) for score in raw[own]]
        except ValueError:
            # Too little to fit, or scores that say nothing: the share of right boxes is all that is known.
            fitted[own] = right[~own].mean()
    return fitted


def measure(boxes: Boxes, formula: str, scene_weights: Floats) -> dict[str, float]:
    """Measure one formula with each scene counted as often as its weight says."""
    weights = scene_weights[boxes.scene]
    raw, right = boxes.raw[formula], boxes.right
    # scikit-learn counts recall over the boxes that were found; the rest of the expected ones were not.
    found_share = (weights * right).sum() / (scene_weights * boxes.expected).sum()
    return {
        "ap": float(average_precision_score(right, raw, sample_weight=weights) * found_share),
        "auroc": float(roc_auc_score(right, raw, sample_weight=weights)),
        "ece": calibration_error(raw, right, weights),
        "ece_fitted": calibration_error(boxes.fitted[formula], right, weights),
    }


def calibration_error(scores: Floats, right: NDArray[np.bool_], weights: Floats) -> float:
    """Expected calibration error: |mean score - share of right| over bins, weighted by their boxes."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights * (scores - right), BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def compare(boxes: Boxes, bootstraps: int) -> dict[str, dict[str, Any]]:
    """Measure every formula, with ranges, and its differences from the default formula."""
    scenes = len(boxes.expected)
    rng = np.random.default_rng(0)
    draws = [np.bincount(rng.integers(scenes, size=scenes), minlength=scenes).astype(float) for _ in range(bootstraps)]
    samples = {name: [measure(boxes, name, draw) for draw in draws] for name in FORMULAS}
    rows: dict[str, dict[str, Any]] = {}
    for name in FORMULAS:
        row: dict[str, Any] = dict(measure(boxes, name, np.ones(scenes)))
        for key in MEASURES:
            own = np.array([sample[key] for sample in samples[name]])
            base = np.array([sample[key] for sample in samples[FORMULA]])
            row[f"{key}_range"] = np.nanquantile(own, (0.025, 0.975)).tolist()
            row[f"{key}_minus_default_range"] = np.nanquantile(own - base, (0.025, 0.975)).tolist()
        rows[name] = row
    return rows


def by_threshold(asked: Sequence[Asked], score: Callable[[float], float]) -> list[dict[str, float]]:
    """What `score_threshold` does with the default formula's scores: absent things, recall, precision."""
    rows = []
    absent = [each for each in asked if each.absent]
    expected = sum(each.expected_boxes for each in asked)
    for threshold in THRESHOLDS:
        kept = {id(each): [f for f in each.found if _kept(raw_score(f.evidence), score, threshold)] for each in asked}
        boxes = [found for each in asked for found in kept[id(each)] if found.is_box]
        right = sum(found.right for found in boxes)
        rows.append(
            {
                "threshold": threshold,
                "rejection": sum(not kept[id(each)] for each in absent) / len(absent),
                "recall": right / expected,
                "precision": right / len(boxes) if boxes else 1.0,
            }
        )
    return rows


def _kept(raw: float | None, score: Callable[[float], float], threshold: float) -> bool:
    return raw is None or score(raw) >= threshold


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("models/tiny"))
    parser.add_argument("--scenes", type=int, default=150)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--bootstraps", type=int, default=300)
    args = parser.parse_args()
    cases = make_cases(args.scenes, args.first_seed, family_of(args.folder))
    report(ask_all(args.folder, cases), args.folder, args.scenes, args.bootstraps)


def report(asked: Sequence[Asked], folder: Path, scenes: int, bootstraps: int) -> None:
    """Compare, print the tables and write the files."""
    boxes = collect(asked)
    formulas = compare(boxes, bootstraps)
    calibration = read_calibration(folder)
    thresholds = {"raw": by_threshold(asked, lambda score: score)}
    by_card = None
    if calibration is not None:
        thresholds["calibrated"] = by_threshold(asked, lambda score: calibrated(score, calibration))
        scores = np.array([calibrated(score, calibration) for score in boxes.raw[FORMULA]])
        by_card = calibration_error(scores, boxes.right, np.ones(len(scores)))
    summary = _summary(asked, boxes, folder, scenes)
    print(", ".join(f"{key} {value}" for key, value in summary.items()) + "\n")
    print(formula_table(formulas))
    print(f"\nECE of {FORMULA} by the card's calibration: {'no card' if by_card is None else f'{by_card:.3f}'}")
    for name, rows in thresholds.items():
        print(f"\nscore_threshold on {name} scores of {FORMULA}\n\n{threshold_table(rows)}")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    curves = {name: {"raw": boxes.raw[name], "fitted": boxes.fitted[name]} for name in FORMULAS}
    plot(curves, boxes.right, FORMULA, OUTPUT / "scores_reliability.png")
    measured = {"formulas": formulas, "ece_by_card": by_card, "thresholds": thresholds}
    (OUTPUT / "scores.json").write_text(json.dumps({**summary, **measured}, indent=2) + "\n")


def _summary(asked: Sequence[Asked], boxes: Boxes, folder: Path, scenes: int) -> dict[str, Any]:
    return {
        "checkpoint": str(folder),
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:12],
        "scenes": scenes,
        "questions": len(asked),
        "absent_questions": sum(each.absent for each in asked),
        "boxes": len(boxes.right),
        "right_boxes": int(boxes.right.sum()),
        "expected_boxes": int(boxes.expected.sum()),
        "default": FORMULA,
    }


def formula_table(formulas: dict[str, dict[str, Any]]) -> str:
    """Markdown, the best AP first."""
    lines = [
        "| formula | AP | AUROC | ECE raw | ECE fitted | AP - default | AUROC - default |",
        "| --- |" + " --- |" * 6,
    ]
    for name, row in sorted(formulas.items(), key=lambda item: -float(item[1]["ap"])):
        cells = [f"{row[key]:.3f} ({_range(row[key + '_range'])})" for key in MEASURES]
        cells += [_range(row[f"{key}_minus_default_range"], "+.3f") for key in ("ap", "auroc")]
        lines.append(f"| {name}{' (default)' * (name == FORMULA)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def threshold_table(rows: Sequence[dict[str, float]]) -> str:
    """Markdown, one row a threshold."""
    lines = [
        "| score_threshold | absent things rejected | recall of boxes | precision of boxes |",
        "| --- |" + " --- |" * 3,
    ]
    lines += [
        f"| {row['threshold']:.1f} | {row['rejection']:.3f} | {row['recall']:.3f} | {row['precision']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _range(ends: Sequence[float], form: str = ".3f") -> str:
    return f"{ends[0]:{form}} to {ends[1]:{form}}"


if __name__ == "__main__":
    main()
