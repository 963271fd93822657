"""The rows of the feature table with the real tiny model: sentence and camera frame in, checked messages out.

Each row asks one question about one drawn scene (benchmarks/level_questions.py) through the node
over real DDS, and every published box and point is checked against the truth. level_seeds.json names
the scene of each row; after the checkpoint has changed, choose them again (some minutes):

    python -m benchmarks.levels --write test/ros/level_seeds.json
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from checkout import TINY
from talk import Talk

from benchmarks.level_questions import ROWS, Asked, Row, Seen, question_of, scene_of

SEEDS: dict[str, int] = json.loads((Path(__file__).parent / "level_seeds.json").read_text(encoding="utf-8"))
# Longer than an answer takes on a busy machine; a frame may be lost, so one is sent again.
RESEND_S = 2.0
_stamps = itertools.count(1)


@pytest.fixture(scope="module")
def talk(shared_robot) -> Talk:
    """One node with the real model for all rows, because loading it takes longer than asking."""
    shared_robot.node(None, model=str(TINY), device="cpu")
    return Talk(shared_robot)


def ask(t: Any, prompt: str, rgb: Any) -> tuple[Any, dict[str, Any]]:
    """Type a prompt, show one picture until it is answered, and return both messages about it."""
    t.ask(prompt)
    shown: set[int] = set()

    def answered() -> list[dict[str, Any]]:
        told = [json.loads(message.data) for message in t.answers.messages]
        return [a for a in told if a["stamp"]["sec"] in shown and a["prompt"] == prompt]

    def done() -> bool:
        if not answered():
            number = next(_stamps)
            shown.add(number)
            t.show(number, rgb)
            with t.robot.changed:
                t.robot.changed.wait_for(lambda: bool(answered()), RESEND_S)
        return bool(answered())

    t.robot.until(done, f"an answer to {prompt!r}")
    answer = answered()[0]
    return t.detections.wait_for(lambda m: m.header.stamp.sec == answer["stamp"]["sec"]), answer


def published(detections: Any, answer: dict[str, Any]) -> list[Seen]:
    """Read boxes and points from the array, which has no room for sub_labels, and those from the answer."""
    assert [d.results[0].hypothesis.class_id for d in detections.detections] == [o["label"] for o in answer["objects"]]
    seen = []
    for detection, described in zip(detections.detections, answer["objects"], strict=True):
        centre, width, height = detection.bbox.center.position, detection.bbox.size_x, detection.bbox.size_y
        is_point = width == height == 0.0
        box = (centre.x - width / 2, centre.y - height / 2, centre.x + width / 2, centre.y + height / 2)
        seen.append(
            Seen(
                label=detection.results[0].hypothesis.class_id,
                xyxy=None if is_point else box,
                point_xy=(centre.x, centre.y) if is_point else None,
                sub_label=described["attributes"].get("sub_label"),
            )
        )
        assert 0.0 < detection.results[0].hypothesis.score <= 1.0
    return seen


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_level(row: Row, talk: Any) -> None:
    scene = scene_of(row, SEEDS[row.name])
    asked = question_of(row, scene)
    assert asked is not None, "the scene has nothing to ask about: choose the seeds again"
    detections, answer = ask(talk, asked.prompt, scene.rgb)
    assert answer["task"] == asked.task.value
    seen = published(detections, answer)
    assert asked.faults(seen, answer["count"], answer["count_agrees"]) == [], (asked, answer)
    assert len(seen) == len(asked.boxes) + len(asked.points)


def test_faults_are_seen() -> None:
    """The check of the levels itself: everything that can be wrong is named."""
    box, off = (10.0, 10.0, 110.0, 110.0), (400.0, 300.0, 500.0, 400.0)
    right = Seen("red cart", box, None, "plain")
    boxes = Asked("carts", ROWS[0].ask([], []).task, boxes=(("red cart", box, "plain"),), count=1)
    assert boxes.faults([right], 1, True) == []
    assert boxes.faults([], 1, True) != []
    assert boxes.faults([right, Seen("red cart", off, None, "plain")], 1, True) != []
    assert boxes.faults([Seen("red cart", off, None, "plain")], 1, True) != []
    assert boxes.faults([Seen("blue cart", box, None, "plain")], 1, True) != []
    assert boxes.faults([Seen("red cart", box, None, "striped")], 1, True) != []
    assert boxes.faults([right], 2, True) != []
    assert boxes.faults([right], 1, False) != []
    points = Asked("wheels", boxes.task, points=(("wheel", (50.0, 50.0)),))
    assert points.faults([Seen("wheel", None, (55.0, 55.0), None)], None, None) == []
    assert points.faults([Seen("wheel", None, (90.0, 50.0), None)], None, None) != []
    assert points.faults([Seen("eye", None, (50.0, 50.0), None)], None, None) != []
    assert points.faults([Seen("wheel", None, (50.0, 50.0), None)] * 2, None, None) != []
    assert points.faults([], None, None) != []
