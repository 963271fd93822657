"""How good answers are: the measures of the field, each with where it comes from.

mAP is COCO's (https://cocodataset.org/#detection-eval), computed by supervision, which gives what pycocotools gives.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv
from supervision.metrics import MeanAveragePrecision

from vlm_perception.apps.evaluate.questions import Query, TrueBox
from vlm_perception.types import XYXY
from vlm_perception.world.boxes import iou, match_boxes

RIGHT_IOU = 0.5
# A box that lies on a crowd by half is neither right nor wrong.
_CROWD_SHARE = 0.5
Figures = dict[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Found:
    """One box of an answer; a score that nobody knows is 1, as good as any other."""

    xyxy: XYXY
    score: float


@dataclass(frozen=True, slots=True)
class Answered:
    """One question and its answer.

    Attributes:
        sheet: Index of the image; boxes of different images never meet.
        question: What was asked.
        found: All boxes of the answer, whatever they are called.
        latency_s: From the question to the whole answer, seconds.
    """

    sheet: int
    question: Query
    found: tuple[Found, ...]
    latency_s: float


def overall(answers: Sequence[Answered]) -> Figures:
    """Figures of all answers; None where nothing was asked that they are about.

    `map50_95`, `map50`: COCO's, over the labels that were asked for, with at most 100 boxes an image. `recall50`,
    `precision50`, `mean_iou`: of the boxes matched at IoU >= 0.5, best overlaps first. `rejection`: of questions about
    what is not there, answered without a box. `acc50`: of phrases, the surest box is right at IoU >= 0.5.
    """
    labels = [answer for answer in answers if not answer.question.is_phrase]
    phrases = [answer for answer in answers if answer.question.is_phrase]
    absent = [not answer.found for answer in labels if not answer.question.truths]
    times_s = [answer.latency_s for answer in answers]
    boxes = sum(len(answer.found) for answer in answers)
    return {
        **_average_precision(labels),
        **_matched(labels),
        "rejection": _mean(absent),
        "acc50": _mean([_surest_is_right(answer) for answer in phrases]),
        "questions": len(answers),
        "boxes": boxes,
        "boxes_per_s": boxes / sum(times_s) if sum(times_s) else None,
        "latency_p50_s": float(np.percentile(times_s, 50)) if times_s else None,
        "latency_p95_s": float(np.percentile(times_s, 95)) if times_s else None,
    }


def by_label(answers: Iterable[Answered]) -> dict[str, Figures]:
    """Figures of each label that was asked for, by its name; phrases are left out."""
    grouped: dict[str, list[Answered]] = defaultdict(list)
    for answer in answers:
        if not answer.question.is_phrase:
            grouped[answer.question.prompt].append(answer)
    return {
        label: {
            "questions": len(own),
            "things": sum(len(_single(answer.question.truths)) for answer in own),
            **_average_precision(own),
            **_matched(own),
            "rejection": _mean([not answer.found for answer in own if not answer.question.truths]),
        }
        for label, own in sorted(grouped.items())
    }


def _average_precision(answers: Sequence[Answered]) -> Figures:
    """COCO's mean average precision; None where nothing is there to be found."""
    if not any(_single(answer.question.truths) for answer in answers):
        return {"map50_95": None, "map50": None}
    names = sorted({answer.question.prompt for answer in answers})
    predictions, targets = [], []
    for _, own in itertools.groupby(sorted(answers, key=lambda one: one.sheet), key=lambda one: one.sheet):
        found, truths = list[tuple[Found, int]](), list[tuple[TrueBox, int]]()
        for answer in own:
            label = names.index(answer.question.prompt)
            found += [(box, label) for box in answer.found]
            truths += [(truth, label) for truth in answer.question.truths]
        predictions.append(_detections([f.xyxy for f, _ in found], [c for _, c in found], [f.score for f, _ in found]))
        target = _detections([t.xyxy for t, _ in truths], [c for _, c in truths])
        target.data = {
            "area": np.array([t.area for t, _ in truths]),
            "iscrowd": np.array([t.is_crowd for t, _ in truths], int),
        }
        targets.append(target)
    scores = MeanAveragePrecision().update(predictions, targets).compute()
    return {"map50_95": float(scores.map50_95), "map50": float(scores.map50)}


def _detections(boxes: Sequence[XYXY], labels: Sequence[int], scores: Sequence[float] | None = None) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        class_id=np.array(labels, dtype=int),
        confidence=None if scores is None else np.array(scores, dtype=np.float64),
    )


def _matched(answers: Sequence[Answered]) -> Figures:
    hits, truths, counted = list[float](), 0, 0
    for answer in answers:
        single = _single(answer.question.truths)
        pairs = [pair for pair in match_boxes([f.xyxy for f in answer.found], single) if pair[2] >= RIGHT_IOU]
        matched = {found for found, _, _ in pairs}
        crowds = [truth.xyxy for truth in answer.question.truths if truth.is_crowd]
        free = [f for place, f in enumerate(answer.found) if place not in matched and not _on_any(f.xyxy, crowds)]
        hits += [overlap for _, _, overlap in pairs]
        truths += len(single)
        counted += len(matched) + len(free)
    return {
        "recall50": len(hits) / truths if truths else None,
        "precision50": len(hits) / counted if counted else None,
        "mean_iou": _mean(hits),
    }


def _single(truths: Iterable[TrueBox]) -> list[XYXY]:
    return [truth.xyxy for truth in truths if not truth.is_crowd]


def _on_any(box: XYXY, crowds: Iterable[XYXY]) -> bool:
    area = (box[2] - box[0]) * (box[3] - box[1])
    for crowd in crowds:
        width, height = min(box[2], crowd[2]) - max(box[0], crowd[0]), min(box[3], crowd[3]) - max(box[1], crowd[1])
        if max(0.0, width) * max(0.0, height) >= _CROWD_SHARE * area:
            return True
    return False


def _surest_is_right(answer: Answered) -> bool:
    surest = max(answer.found, key=lambda box: box.score, default=None)
    return surest is not None and any(iou(surest.xyxy, truth.xyxy) >= RIGHT_IOU for truth in answer.question.truths)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
