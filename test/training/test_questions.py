"""Questions, right replies, and the judge that compares them."""

from __future__ import annotations

import numpy as np
import pytest

from training.cache import CAMERA_SIZES, FIRST_TRAINING_SEED
from training.checkpoint import build_tokenizer
from training.evaluate import FIRST_SEED, figures, make_cases
from training.families import TINY_FAMILIES, TinyFamily, View
from training.judge import judge
from training.photos import evaluation_photos, training_photos
from training.questions import TASK_WEIGHTS, Asker
from vlm_perception.replies.reader import parse_answer
from vlm_perception.scenes import random_scene, render

IMAGE_WH = (640, 480)


@pytest.fixture(params=TINY_FAMILIES)
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return TINY_FAMILIES[request.param]


@pytest.fixture
def view(family: TinyFamily) -> View:
    return family.view(IMAGE_WH)


@pytest.mark.parametrize("task", list(TASK_WEIGHTS))
def test_a_right_reply_is_read_back_and_judged_right(task: str, view: View) -> None:
    """The product's parser finds exactly the expected boxes and points in the rendered reply."""
    rng = np.random.default_rng(sorted(TASK_WEIGHTS).index(task))
    asker = Asker(rng)
    for _ in range(25):
        scene = render(random_scene(rng, IMAGE_WH), IMAGE_WH)
        question = asker.ask(scene.truths, view, task)
        parsed = parse_answer(question.reply, model_wh=view.reply_wh, image_wh=view.reply_wh)
        assert not parsed.rejects
        assert [o.xyxy for o in parsed.objects if o.xyxy] == [box for _, box, _ in question.expected.boxes]
        assert [o.point_xy for o in parsed.objects if o.point_xy] == [(x, y) for _, x, y in question.expected.points]
        row = judge(question, question.reply, scene, view)
        assert row.json_valid
        assert all((*row.labels_right, *row.sub_labels_right, *row.point_hits))
        assert row.count_right in (True, None)
        assert row.rejected in (True, None)
        assert min(row.match_ious, default=1.0) >= 0.5


def test_a_wrong_reply_is_judged_wrong(view: View) -> None:
    """The judge can fail: an empty reply misses, an invented box is not a rejection, prose is not JSON."""
    rng = np.random.default_rng(3)
    scene = render(random_scene(rng, IMAGE_WH, 3), IMAGE_WH)
    asker = Asker(rng)
    every = asker.ask(scene.truths, view, "all")
    assert not any(judge(every, "```json\n[]\n```", scene, view).box_hits)
    assert not judge(every, "I see three things.", scene, view).json_valid
    while (absent := asker.ask(scene.truths, view, "label")).expected.boxes:
        pass
    invented = '```json\n[\n\t{"bbox_2d": [1, 2, 30, 40], "label": "red cart"}\n]\n```'
    assert judge(absent, invented, scene, view).rejected is False


def test_evaluation_draws_what_training_never_drew() -> None:
    """Seeds and photographs are apart, and the cases are the same on every call."""
    assert FIRST_SEED + 100_000 < FIRST_TRAINING_SEED
    trained = {photo.tobytes() for photo in training_photos()}
    assert not any(photo.tobytes() in trained for photo in evaluation_photos())
    first, again = make_cases(6), make_cases(6)
    assert [c.question for c in first] == [c.question for c in again]
    assert len({c.question.instruction for c in first}) > 10


def test_figures_are_means_over_the_replies_they_apply_to(family: TinyFamily) -> None:
    """Perfect replies give 1.0 everywhere but the IoU, which rounding keeps below."""
    cases = make_cases(8, family=family)
    summary = figures(judge(c.question, c.question.reply, c.scene, c.view) for c in cases)
    assert summary["mean_iou"] > 0.85
    assert all(value == 1.0 for key, value in summary.items() if key not in ("mean_iou", "recall50", "precision50"))
    assert summary["recall50"] > 0.98


@pytest.mark.parametrize("image_wh", [size for size, _ in CAMERA_SIZES])
def test_training_resizes_as_the_node_does(image_wh: tuple[int, int], family: TinyFamily) -> None:
    """One resize rule for training and the processor, and the same image tokens in both families."""
    processor = family.build_processor(build_tokenizer(["red circle"]))
    image = np.zeros((*image_wh[::-1], 3), np.uint8)
    grid_thw = processor.image_processor(images=[image], return_tensors="pt")["image_grid_thw"][0].tolist()
    view = family.view(image_wh)
    assert grid_thw == [1, 2 * view.grid_hw[0], 2 * view.grid_hw[1]]
    assert view.grid_hw == TINY_FAMILIES["qwen2_5_vl"].view(image_wh).grid_hw
