"""Each measure on answers whose figures are known, and mAP against pycocotools, COCO's own code."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vlm_perception.apps.evaluate.measures import Answered, Found, by_label, overall
from vlm_perception.apps.evaluate.questions import Query, TrueBox
from vlm_perception.types import XYXY

BOX, OTHER, FAR = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (50.0, 50.0, 60.0, 60.0)
LABELS = ("cart", "circle", "face", "square")


def truth(xyxy: XYXY, *, crowd: bool = False) -> TrueBox:
    return TrueBox(xyxy, (xyxy[2] - xyxy[0]) * (xyxy[3] - xyxy[1]), crowd)


def answered(truths: list[TrueBox], found: list[Found], prompt: str = "cup", *, phrase: bool = False) -> Answered:
    return Answered(0, Query(prompt, tuple(truths), phrase), tuple(found), 0.5)


@pytest.mark.parametrize(
    ("truths", "found", "figures"),
    [
        ([BOX], [BOX], {"recall50": 1.0, "precision50": 1.0, "map50": 1.0, "mean_iou": 1.0}),
        ([BOX, OTHER], [BOX, FAR], {"recall50": 0.5, "precision50": 0.5}),
        ([BOX], [BOX, BOX], {"recall50": 1.0, "precision50": 0.5}),
        ([BOX], [(0.0, 0.0, 10.0, 6.0)], {"recall50": 1.0, "mean_iou": 0.6}),
        ([BOX], [(0.0, 0.0, 10.0, 4.0)], {"recall50": 0.0, "precision50": 0.0, "mean_iou": None}),
        ([BOX], [], {"recall50": 0.0, "precision50": None, "rejection": None}),
        ([], [], {"rejection": 1.0, "map50": None, "recall50": None}),
        ([], [FAR], {"rejection": 0.0, "precision50": 0.0}),
    ],
)
def test_boxes_of_a_label(truths: list[XYXY], found: list[XYXY], figures: dict[str, float | None]) -> None:
    answer = answered([truth(box) for box in truths], [Found(box, 0.9) for box in found])
    reached = overall([answer])
    assert {key: reached[key] for key in figures} == pytest.approx(figures)
    assert by_label([answer])["cup"]["recall50"] == reached["recall50"]


def test_a_box_on_a_crowd_is_neither_right_nor_wrong() -> None:
    crowd = truth((40.0, 40.0, 80.0, 80.0), crowd=True)
    reached = overall([answered([truth(BOX), crowd], [Found(BOX, 0.9), Found(FAR, 0.95)])])
    assert (reached["recall50"], reached["precision50"], reached["map50"]) == (1.0, 1.0, pytest.approx(1.0))
    assert by_label([answered([truth(BOX), crowd], [])])["cup"]["things"] == 1


@pytest.mark.parametrize(("scores", "right"), [((0.9, 0.3), 1.0), ((0.3, 0.9), 0.0)])
def test_of_a_phrase_the_surest_box_is_the_answer(scores: tuple[float, float], right: float) -> None:
    found = [Found(BOX, scores[0]), Found(FAR, scores[1])]
    reached = overall([answered([truth(BOX)], found, "the left one", phrase=True)])
    assert reached["acc50"] == right
    assert reached["map50"] is reached["rejection"] is None
    assert by_label([answered([truth(BOX)], found, "the left one", phrase=True)]) == {}
    assert overall([answered([truth(BOX)], [], "the left one", phrase=True)])["acc50"] == 0.0


def test_speed_is_that_of_answers() -> None:
    reached = overall([answered([truth(BOX)], [Found(BOX, 1.0)] * 3), answered([], [])])
    assert reached["boxes_per_s"] == pytest.approx(3.0)
    assert reached["latency_p50_s"] == reached["latency_p95_s"] == 0.5


def test_map_is_that_of_pycocotools() -> None:
    """On a fixed set with misses, doubles, equal scores, crowds and boxes of all sizes."""
    rng = np.random.default_rng(0)
    answers: list[Answered] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(40):
        for category, label in enumerate(LABELS, 1):
            truths, found = [], []
            for _ in range(int(rng.integers(0, 4))):
                wh = rng.uniform(8, 200, 2)
                xy = rng.uniform(0, 1, 2) * (640 - wh[0], 480 - wh[1])
                box = np.array([*xy, *(xy + wh)])
                truths.append(truth((box[0], box[1], box[2], box[3]), crowd=bool(rng.random() < 0.1)))
                for _ in range(int(rng.choice(3, p=(0.2, 0.7, 0.1)))):
                    near = box + rng.normal(0, 0.06, 4) * [*wh, *wh]
                    near[2:] = np.maximum(near[2:], near[:2] + 2)
                    score = float(rng.choice((0.5, 0.9))) if rng.random() < 0.3 else float(rng.random())
                    found.append(Found((near[0], near[1], near[2], near[3]), score))
            annotations += [
                {"image_id": image, "category_id": category, "bbox": _xywh(one.xyxy), "area": one.area}
                | {"iscrowd": int(one.is_crowd), "id": len(annotations) + place}
                for place, one in enumerate(truths, 1)
            ]
            results += [
                {"image_id": image, "category_id": category, "bbox": _xywh(one.xyxy), "score": one.score}
                for one in found
            ]
            answers.append(Answered(image, Query(label, tuple(truths)), tuple(found), 0.1))
    with contextlib.redirect_stdout(io.StringIO()):
        given = COCO()
        images = [{"id": image, "width": 640, "height": 480} for image in range(40)]
        categories = [{"id": category, "name": label} for category, label in enumerate(LABELS, 1)]
        given.dataset = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
        given.createIndex()
        theirs = COCOeval(given, given.loadRes(results), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    reached = overall(answers)
    assert 0.2 < theirs.stats[0] < 0.8
    assert (reached["map50_95"], reached["map50"]) == pytest.approx(theirs.stats[:2], abs=1e-6)
    precision = theirs.eval["precision"][:, :, :, 0, 2]
    rows = by_label(answers)
    for place, label in enumerate(LABELS):
        assert rows[label]["map50_95"] == pytest.approx(precision[:, :, place].mean(), abs=1e-6)


def _xywh(xyxy: XYXY) -> list[float]:
    return [xyxy[0], xyxy[1], xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]]
