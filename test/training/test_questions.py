"""Questions, right replies, and the judge that compares them."""

from __future__ import annotations

import numpy as np
import pytest

from training.cache import CAMERA_SIZES, FIRST_TRAINING_SEED, model_size
from training.evaluate import FIRST_SEED, figures, make_cases
from training.judge import judge
from training.photos import evaluation_photos, training_photos
from training.questions import TASK_WEIGHTS, Asker
from vlm_perception.engines.families import plan_resize
from vlm_perception.replies.reader import parse_answer
from vlm_perception.scenes import random_scene, render
from vlm_perception.types import PixelBudget

IMAGE_WH = (640, 480)


@pytest.mark.parametrize("task", list(TASK_WEIGHTS))
def test_a_right_reply_is_read_back_and_judged_right(task: str) -> None:
    """The product's parser finds exactly the expected boxes and points in the rendered reply."""
    rng = np.random.default_rng(sorted(TASK_WEIGHTS).index(task))
    asker, model_wh = Asker(rng), model_size(IMAGE_WH)
    for _ in range(25):
        scene = render(random_scene(rng, IMAGE_WH), IMAGE_WH)
        question = asker.ask(scene.truths, IMAGE_WH, model_wh, task)
        parsed = parse_answer(question.reply, model_wh=model_wh, image_wh=model_wh)
        assert not parsed.rejects
        assert [o.xyxy for o in parsed.objects if o.xyxy] == [box for _, box, _ in question.expected.boxes]
        assert [o.point_xy for o in parsed.objects if o.point_xy] == [(x, y) for _, x, y in question.expected.points]
        row = judge(question, question.reply, scene, IMAGE_WH)
        assert row.json_valid
        assert all((*row.labels_right, *row.sub_labels_right, *row.point_hits))
        assert row.count_right in (True, None)
        assert row.rejected in (True, None)
        assert min(row.match_ious, default=1.0) >= 0.5


def test_a_wrong_reply_is_judged_wrong() -> None:
    """The judge can fail: an empty reply misses, an invented box is not a rejection, prose is not JSON."""
    rng = np.random.default_rng(3)
    scene = render(random_scene(rng, IMAGE_WH, 3), IMAGE_WH)
    asker = Asker(rng)
    every = asker.ask(scene.truths, IMAGE_WH, model_size(IMAGE_WH), "all")
    assert not any(judge(every, "```json\n[]\n```", scene, IMAGE_WH).box_hits)
    assert not judge(every, "I see three things.", scene, IMAGE_WH).json_valid
    while (absent := asker.ask(scene.truths, IMAGE_WH, model_size(IMAGE_WH), "label")).expected.boxes:
        pass
    invented = '```json\n[\n\t{"bbox_2d": [1, 2, 30, 40], "label": "red cart"}\n]\n```'
    assert judge(absent, invented, scene, IMAGE_WH).rejected is False


def test_evaluation_draws_what_training_never_drew() -> None:
    """Seeds and photographs are apart, and the cases are the same on every call."""
    assert FIRST_SEED + 100_000 < FIRST_TRAINING_SEED
    trained = {photo.tobytes() for photo in training_photos()}
    assert not any(photo.tobytes() in trained for photo in evaluation_photos())
    first, again = make_cases(6), make_cases(6)
    assert [c.question for c in first] == [c.question for c in again]
    assert len({c.question.instruction for c in first}) > 10


def test_figures_are_means_over_the_replies_they_apply_to() -> None:
    """Perfect replies give 1.0 everywhere but the IoU, which rounding to model pixels keeps below."""
    cases = make_cases(8)
    summary = figures(judge(c.question, c.question.reply, c.scene, c.image_wh) for c in cases)
    assert summary["mean_iou"] > 0.85
    assert all(value == 1.0 for key, value in summary.items() if key not in ("mean_iou", "recall50", "precision50"))
    assert summary["recall50"] > 0.98


@pytest.mark.parametrize("image_wh", [size for size, _ in CAMERA_SIZES])
def test_training_resizes_as_the_node_does(image_wh: tuple[int, int]) -> None:
    """One resize rule for training and product."""
    from training.checkpoint import MAX_PIXELS, MIN_PIXELS

    assert model_size(image_wh) == plan_resize(image_wh, PixelBudget(MIN_PIXELS, MAX_PIXELS), cell_px=28)
