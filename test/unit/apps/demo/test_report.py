from __future__ import annotations

import json

import pytest

from vlm_perception.apps.demo.report import Sample, questions_about, row_of, summary_json, table
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Task

LABELS = ["red circle", "red square", "blue square", "shadow"]


def sample(boxes, *, latency_s=0.1, age_s=0.2, count=None, text=""):
    objects = [{"label": "x", "bbox_xyxy": box, "point_xy": None, "attributes": {}} for box in boxes]
    objects.append({"label": "p", "bbox_xyxy": None, "point_xy": [1, 1], "attributes": {}})
    answer = {"objects": objects, "count": count, "text": text, "timings": {"latency_s": latency_s, "age_s": age_s}}
    truth = {"objects": [{"label": label, "bbox_xyxy": [20 * i, 0, 20 * i + 10, 10]} for i, label in enumerate(LABELS)]}
    return Sample(answer, truth)


def test_five_different_tasks_are_asked_in_plain_words():
    questions = questions_about(LABELS)
    assert [q.prompt for q in questions] == [
        "all objects",
        "the red circle",
        "how many squares are there?",
        "each object, and describe it",
        "describe the scene",
    ]
    assert [build_prompt(q.prompt).task for q in questions] == [
        Task.DETECT,
        Task.DETECT,
        Task.COUNT,
        Task.GROUND,
        Task.DESCRIBE,
    ]
    assert [[label for label in LABELS if q.means(label)] for q in questions] == [
        LABELS[:3],
        ["red circle"],
        ["red square", "blue square"],
        LABELS[:3],
        [],
    ]
    assert len({q.slug for q in questions}) == 5


def test_a_row_is_made_of_boxes_that_overlap_what_was_meant():
    squares = questions_about(LABELS)[2]
    good = sample([[20, 0, 30, 10], [40, 0, 50, 5]], latency_s=0.1, age_s=0.3, count=2, text="There are 2 squares.")
    bad = sample([[0, 0, 10, 10]], latency_s=0.3, age_s=0.5)
    row = row_of(squares, [bad, good, good])
    assert (row.found, row.expected) == (2, 2)
    # The circle's box is not a square: it neither helps nor counts as a match.
    assert row.mean_iou == pytest.approx(0.75)
    assert (row.latency_ms, row.frame_age_ms) == pytest.approx((100.0, 300.0))
    assert row.words == "2: There are 2 squares."


def test_nothing_found_is_zero_not_an_error():
    row = row_of(questions_about(LABELS)[0], [sample([])])
    assert (row.found, row.mean_iou) == (0, 0.0)


def test_a_row_of_words_has_no_figures_of_boxes():
    words = row_of(questions_about(LABELS)[4], [sample([], text="A red circle.")])
    (line,) = (line for line in table([words]).splitlines() if line.startswith("describe the scene"))
    assert line.split() == ["describe", "the", "scene", "-", "-", "-", "-", "200", "ms", "100", "ms", "p"]


def test_the_summary_has_exactly_the_promised_keys():
    row = row_of(questions_about(LABELS)[1], [sample([[0, 0, 10, 10]])])
    assert json.loads(summary_json([row])) == [
        {
            "prompt": "the red circle",
            "found": 1,
            "mean_iou": 1.0,
            "frame_age_ms": 200.0,
            "latency_ms": 100.0,
            "place_error_m": None,
        }
    ]
    assert "the red circle" in table([row])


def test_places_are_held_to_the_truth_in_its_own_frame():
    question = questions_about(LABELS)[0]
    near, other = sample([[0, 0, 10, 10]]), sample([[0, 0, 10, 10]])
    for each, frame in ((near, "world"), (other, "scene_camera")):
        each.truth["objects"][0].update(position_frame="world", position_m=[2.0, 0.0, 0.5])
        each.answer["objects"][0].update(position_frame=frame, position_m=[2.0, 0.03, 0.54], distance_m=2.06)
    row = row_of(question, [other, near])
    assert row.place_error_m == pytest.approx(0.05)
    assert row.summary()["place_error_m"] == pytest.approx(0.05)
    assert row.words.startswith("x, 2.1 m")
    assert "5.0 cm" in table([row])
    assert row_of(question, [other]).place_error_m is None
