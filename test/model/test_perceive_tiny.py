"""The shipped tiny checkpoints find real objects: frame and sentence in, boxes out.

A smoke test with floors well under the figures of the model cards; `make evaluate` measures.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from checkout import SHIPPED

from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import open_engine
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene, Truth
from vlm_perception.types import XYXY, Frame, FrameHeader, PixelBudget, Request, Result
from vlm_perception.world.boxes import iou

SEEDS = range(9000, 9012)
MEAN_IOU_FLOOR = 0.5
FOUND_FLOOR = 0.7
CLEAN_FLOOR = 0.9
BUDGET = PixelBudget(224 * 224, 1024 * 1024)


@pytest.fixture(scope="module", params=SHIPPED, ids=lambda folder: folder.name)
def tiny(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each of them in turn."""
    engine = open_engine(request.param)
    yield engine
    engine.close()


def ask(tiny: Engine, seed: int, text: str | None = None) -> tuple[Result, str, XYXY]:
    """Ask for the one object of a scene, or for something else."""
    frame, truth = _with_one_object(seed)
    request = Request(frame, build_prompt(text or truth.label), BUDGET, 128)
    return perceive(tiny, request), truth.label, truth.xyxy


def test_the_named_object_is_found_where_it_is(tiny: Engine) -> None:
    ious, clean = [], 0
    for seed in SEEDS:
        result, label, truth = ask(tiny, seed)
        clean += result.answer.finish_reason == "stop" and not result.rejects
        boxes = [found.xyxy for found in result.objects if found.xyxy and found.label == label]
        ious.append(max((iou(box, truth) for box in boxes), default=0.0))
        assert all(found.score is not None and 0 < found.score <= 1 for found in result.objects)
    assert clean / len(SEEDS) >= CLEAN_FLOOR
    found = sum(value >= 0.5 for value in ious) / len(ious)
    assert sum(ious) / len(ious) >= MEAN_IOU_FLOOR, ious
    assert found >= FOUND_FLOOR, ious


def test_an_absent_thing_is_mostly_not_found(tiny: Engine) -> None:
    empty = 0
    for seed in SEEDS:
        label = ask(tiny, seed)[1]
        absent = "blue face" if not label.startswith("blue") and not label.endswith("face") else "red cart"
        empty += not ask(tiny, seed, absent)[0].objects
    assert empty / len(SEEDS) >= FOUND_FLOOR


def test_a_region_is_looked_at_alone_and_places_come_in_the_whole_image(tiny: Engine) -> None:
    right = outside = 0
    for seed in SEEDS:
        frame, truth = _with_one_object(seed)
        left, top, _, _ = truth.xyxy
        box = [max(0.0, left - 120), max(0.0, top - 90), truth.xyxy[2] + 40, truth.xyxy[3] + 30]
        result = perceive(tiny, Request(frame, build_prompt(f"in {box}: {truth.label}"), BUDGET, 128))
        right += any(iou(found.xyxy, truth.xyxy) >= 0.5 for found in result.objects if found.xyxy)
        elsewhere = "left half" if left > frame.image_wh[0] / 2 else "right half"
        if left > frame.image_wh[0] / 2 or truth.xyxy[2] < frame.image_wh[0] / 2:
            prompt = build_prompt(f"in the {elsewhere}: {truth.label}")
            outside += len(perceive(tiny, Request(frame, prompt, BUDGET, 128)).objects)
    assert right / len(SEEDS) >= FOUND_FLOOR
    assert outside <= 2


def _with_one_object(seed: int) -> tuple[Frame, Truth]:
    scene = MovingScene(seed, (640, 480), n_objects=1).at(0.0)
    return Frame(scene.rgb, FrameHeader(1, 2, "camera"), "/image", 0.0), scene.truths[0]
