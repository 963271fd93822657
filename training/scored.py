"""What the product answers to held-out questions, with the evidence for each score and the truth about it.

Used by `training.calibrate` and `benchmarks.scores`; goes the product's own way, one question at a
time through `perceive`, because only that keeps the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.evaluate import Case
from training.judge import POINT_TOLERANCE, exact_box
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.pipeline import perceive
from vlm_perception.replies.token_evidence import Evidence, gather_evidence
from vlm_perception.types import XYXY, DetectedObject, Frame, FrameHeader, PixelBudget, Prompt, Request, Task
from vlm_perception.world.boxes import match_boxes

_BUDGET = PixelBudget(224 * 224, 1024 * 1024)
_MAX_NEW_TOKENS = 300
_TASKS = {"count": Task.COUNT, "point": Task.POINT}
_RIGHT_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """One answered object: its evidence, and whether it is right.

    A box is right at IoU >= 0.5 with a true box of the same label that no better box has taken; a
    point within 5 % of the image side, sqrt(width * height), of a true point with its label.
    """

    evidence: Evidence
    right: bool
    is_box: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and what came of it.

    Attributes:
        scene: Seed index of the scene; questions about one scene are not independent.
        absent: It asked for boxes or points of something that is not there.
        expected_boxes: How many boxes the right answer has.
        found: The objects of the answer, all of them.
    """

    scene: int
    absent: bool
    expected_boxes: int
    found: tuple[Found, ...]


def ask_all(folder: Path, cases: Sequence[Case]) -> list[Asked]:
    """Ask every question of the checkpoint in a folder, through the product's data path."""
    engine = open_engine(folder, device="cpu", dtype="float32")
    scenes: dict[int, int] = {}
    asked = []
    try:
        for case in cases:
            scene = scenes.setdefault(id(case.scene), len(scenes))
            asked.append(_ask(engine, case, scene))
    finally:
        engine.close()
    return asked


def _ask(engine: TransformersEngine, case: Case, scene: int) -> Asked:
    question, expected = case.question, case.question.expected
    prompt = Prompt(question.instruction, _TASKS.get(question.task, Task.DETECT), question.instruction)
    frame = Frame(case.scene.rgb, FrameHeader(0, 0, "camera"), "/image", 0.0)
    result = perceive(engine, Request(frame, prompt, _BUDGET, _MAX_NEW_TOKENS))
    right = _right_boxes(result.objects, case) | _right_points(result.objects, case)
    found = tuple(
        Found(gather_evidence(item, result.answer), index in right, item.xyxy is not None)
        for index, item in enumerate(result.objects)
    )
    absent = not expected.boxes and not expected.points and expected.count is None
    return Asked(scene, absent, len(expected.boxes), found)


def _right_boxes(objects: Sequence[DetectedObject], case: Case) -> set[int]:
    truths: dict[str, list[XYXY]] = {}
    for label, box, _ in case.question.expected.boxes:
        truths.setdefault(label, []).append(exact_box(box, case.scene, case.view))
    right = set()
    for label, boxes in truths.items():
        own = [(index, item.xyxy) for index, item in enumerate(objects) if item.label == label and item.xyxy]
        pairs = match_boxes([xyxy for _, xyxy in own], boxes)
        right |= {own[found][0] for found, _, overlap in pairs if overlap >= _RIGHT_IOU}
    return right


def _right_points(objects: Sequence[DetectedObject], case: Case) -> set[int]:
    image_wh = case.view.image_wh
    sx, sy = (image / reply for image, reply in zip(image_wh, case.view.reply_wh, strict=True))
    limit_px = POINT_TOLERANCE * math.sqrt(image_wh[0] * image_wh[1])
    free = [(label, (x * sx, y * sy)) for label, x, y in case.question.expected.points]
    right = set()
    for index, item in enumerate(objects):
        if item.point_xy is None:
            continue
        near = [(math.dist(at, item.point_xy), label, at) for label, at in free if label == item.label]
        if near and min(near)[0] <= limit_px:
            free.remove(min(near)[1:])
            right.add(index)
    return right
