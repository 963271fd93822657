"""Questions, right replies, and the judge that compares them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.checkpoint import SMALL_PIXELS, build_tokenizer
from training.evaluate import (
    FIRST_SEED,
    TAUGHT_BARS,
    bars_of,
    figures,
    harder_figures,
    is_taught,
    make_cases,
    make_taught_cases,
    make_two_cases,
    taught_figures,
)
from training.families import TINY_FAMILIES, TinyFamily, View
from training.judge import judge
from training.photos import evaluation_photos, training_photos
from training.questions import TASK_WEIGHTS, TAUGHT_WEIGHTS, Asker
from training.scenes import CAMERA_SIZES, FIRST_TRAINING_SEED, varied_scene
from training.things import named_in, things_of
from training.watched import make_watch_cases, watch_figures, watched
from vlm_perception.replies.events import read_events
from vlm_perception.replies.reader import parse_answer
from vlm_perception.scenes import Background, Light, ObjectSpec, Scene, SceneSpec, Truth, random_scene, render

IMAGE_WH = (448, 336)


@pytest.fixture(params=TINY_FAMILIES)
def family(request: pytest.FixtureRequest) -> TinyFamily:
    return TINY_FAMILIES[request.param]


@pytest.fixture
def view(family: TinyFamily) -> View:
    return family.view(IMAGE_WH)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Varied ones, drawn once."""
    rng = np.random.default_rng(11)
    return [render(varied_scene(rng, IMAGE_WH, ()), IMAGE_WH) for _ in range(24)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Locate red cart and blue faces and output", {"red cart": 0, "blue face": None}),
        ("is the plain red cart left of the striped red cart?", {"plain red cart": 1, "striped red cart": 0}),
        ("the shadow of the yellow face", {"yellow face": 2}),
        ("count the red things", {"red thing": 0}),
        ("every striped object below the cart", {"striped object": 0, "cart": 0}),
        ("找出条纹红色小车和黄色圆形", {"条纹红色小车": 0, "黄色圆形": None}),
        ("红色物体", {"红色物体": 0}),
        ("Locate all objects in the image", {}),
        ("图中有多少个物体？", {}),
    ],
)
def test_what_a_question_names_is_the_first_such_thing(text: str, names: dict[str, int | None], view: View) -> None:
    """In reading order; where nothing fits, none."""
    drawn = [("red cart", 20.0, "striped"), ("red cart", 120.0, "plain"), ("yellow face", 220.0, "plain")]
    things = things_of([Truth(label, (x, 40.0, x + 60, 90.0), {"pattern": how}) for label, x, how in drawn], view)
    wanted = {name: None if which is None else things[which].box for name, which in names.items()}
    found = named_in(text, things)
    assert all(
        text[:end].endswith(name) and box == wanted[name] for (end, box), name in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("task", list(TAUGHT_WEIGHTS))
def test_a_right_reply_is_read_back_and_judged_right(task: str, view: View, scenes: list[Scene]) -> None:
    """The product's parser finds exactly the expected boxes, points and words in the rendered reply."""
    asker, asked = Asker(np.random.default_rng(sorted(TAUGHT_WEIGHTS).index(task))), 0
    for scene in scenes:
        question = asker.ask(scene.truths, view, task)
        asked += question.task == task
        parsed = parse_answer(question.reply, model_wh=view.reply_wh, image_wh=view.reply_wh)
        assert not parsed.rejects
        boxes = [box for _, box, _ in question.expected.boxes] + [box for _, box in question.expected.texts]
        assert [o.xyxy for o in parsed.objects if o.xyxy] == boxes
        assert [o.point_xy for o in parsed.objects if o.point_xy] == [(x, y) for _, x, y in question.expected.points]
        row = judge(question, question.reply, scene, view)
        assert parsed.text == question.expected.words or not question.expected.words
        assert row.json_valid is (None if question.expected.words else True)
        assert all((*row.labels_right, *row.sub_labels_right, *row.point_hits))
        assert all(row.text_hits)
        assert row.verdict_right in (True, None)
        assert row.words_right in (True, None)
        assert row.described in (1.0, None)
        assert not row.doubled
        assert row.count_right in (True, None)
        assert row.rejected in (True, None)
        assert min(row.match_ious, default=1.0) >= 0.5
    assert asked >= 4


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


@pytest.mark.parametrize(
    ("task", "changed"),
    [
        ("exists", lambda text: text.replace("Yes", "No") if "Yes" in text else text.replace("No,", "Yes,")),
        ("exists", lambda text: text.replace("red", "blue").replace("green", "red")),
        ("related", lambda text: text.replace("left of", "right of")),
        ("describe", lambda text: text.replace("square", "face")),
        ("told", lambda text: text.replace("circle", "cart").replace("red", "green")),
        ("describe", lambda text: ""),
    ],
)
def test_a_sentence_that_claims_what_is_not_so_is_judged_wrong(
    task: str, changed: Callable[[str], str], view: View
) -> None:
    thing = ObjectSpec("circle", "red", (220, 20, 20), "plain", 0.2, 0.5, 0.2, 1.0, 0.0, 0)
    other = ObjectSpec("square", "green", (20, 150, 20), "plain", 0.7, 0.55, 0.3, 1.0, 0.0, 0)
    wall, light = Background("plain", (200, 200, 200), (200, 200, 200), 0), Light(1, 1, 1, 1, 0, 0)
    scene = render(SceneSpec((thing, other), wall, light), IMAGE_WH)
    asker, wrong = Asker(np.random.default_rng(2)), 0
    for _ in range(40):
        question = asker.ask(scene.truths, view, task)
        reply = changed(question.reply)
        if question.chinese or reply == question.reply:
            continue
        row = judge(question, reply, scene, view)
        assert not row.words_right, reply
        assert row.described is None or row.described < 1
        wrong += 1
    assert wrong > 3


def test_what_is_written_is_asked_for_often_where_there_is_any(view: View) -> None:
    """And only of a checkpoint that was taught to read."""
    cart = Truth("red cart", (80.0, 80.0, 180.0, 170.0), {"pattern": "plain"}, (), ("K7", (100.0, 100.0, 160.0, 130.0)))

    def asked(truth: Truth, weights: Mapping[str, float]) -> int:
        asker = Asker(np.random.default_rng(0), weights)
        return [asker.ask([truth], view).task for _ in range(200)].count("read")

    assert asked(cart, TAUGHT_WEIGHTS) > 45 > 2 * asked(replace(cart, text=None), TAUGHT_WEIGHTS)
    assert asked(cart, TASK_WEIGHTS) == 0


def test_photographs_without_drawn_things_are_answered_with_nothing(family: TinyFamily) -> None:
    cases = [case for case in make_taught_cases(5, family) if case.question.task == "photograph"]
    assert len(cases) == 8
    assert not any(case.scene.truths for case in cases)
    judged = [judge(case.question, "```json\n[]\n```", case.scene, case.view) for case in cases]
    assert all(row.rejected for row in judged)


def test_every_bar_is_measured_and_reached_by_right_replies(family: TinyFamily) -> None:
    own, cases = make_cases(40, family=family), make_taught_cases(14, family)
    judged = [judge(c.question, c.question.reply, c.scene, c.view) for c in (*own, *cases)]
    reached = figures(judged[: len(own)]) | harder_figures(own, judged[: len(own)])
    reached |= taught_figures(cases, judged[len(own) :])
    told = [(case.expected, case.expected.words) for case in make_watch_cases(6)]
    reached |= watch_figures([watched(right, words, read_events(words, 4.0).events) for right, words in told])
    assert {key for key, bar in TAUGHT_BARS.items() if reached.get(key, 0.0) < min(bar, 0.97)} == set()
    silent = [judge(c.question, "", c.scene, c.view) for c in cases]
    shown = taught_figures(cases, silent)
    assert max(value for key, value in shown.items() if key not in ("photo_rejection", "no_doubles")) == 0.0


def test_a_second_box_on_one_thing_is_a_double(view: View) -> None:
    rng = np.random.default_rng(4)
    scene = render(random_scene(rng, IMAGE_WH, 2), IMAGE_WH)
    every = Asker(rng).ask(scene.truths, view, "all")
    box = every.expected.boxes[0][1]
    again = ", ".join(str(value) for value in (box[0] + 1, box[1], box[2], box[3]))
    more = every.reply.replace("\n]", f',\n\t{{"bbox_2d": [{again}], "label": "grey cup"}}\n]')
    assert judge(every, more, scene, view).doubled
    assert not judge(every, every.reply, scene, view).doubled


def test_every_edition_is_asked_what_the_first_was(family: TinyFamily) -> None:
    """Their figures stay comparable, whatever is taught besides."""
    view = replace(family, pixels=SMALL_PIXELS[family.family.name])
    questions = [case.question.instruction for case in make_cases(8, family=view)]
    assert hashlib.sha256(repr(questions).encode()).hexdigest()[:16] == "0cbb24e6bc229923"


def test_two_things_are_asked_for_in_every_scene() -> None:
    """Of the mixed questions one in twenty is for two: at 500 scenes a wrong one would cost three hundredths."""
    cases = make_cases(10)
    twos = make_two_cases(cases)
    assert [id(case.scene) for case in twos] == list(dict.fromkeys(id(case.scene) for case in cases))
    assert {case.question.task for case in twos} == {"two"}
    assert [case.question for case in twos] == [case.question for case in make_two_cases(cases)]


@pytest.mark.parametrize(("vocabulary", "taught"), [(512, False), (1024, True)])
def test_an_edition_is_told_by_its_vocabulary(tmp_path: Path, vocabulary: int, taught: bool) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "qwen2_5_vl", "text_config": {"vocab_size": vocabulary}})
    )
    assert is_taught(tmp_path) is taught
    assert bars_of(tmp_path)["count_accuracy"] == (0.92 if taught else 0.90)


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
    """One resize rule for training and the processor, and the same image tokens of large images in both families."""
    processor = family.build_processor(build_tokenizer(["red circle"]))
    image = np.zeros((*image_wh[::-1], 3), np.uint8)
    grid_thw = processor.image_processor(images=[image], return_tensors="pt")["image_grid_thw"][0].tolist()
    view = family.view(image_wh)
    assert grid_thw == [1, 2 * view.grid_hw[0], 2 * view.grid_hw[1]]
    # What is smaller than the bounds stays as large as it is, in tokens of other sizes.
    if image_wh[0] * image_wh[1] > max(each.pixels.max_pixels for each in TINY_FAMILIES.values()):
        assert view.grid_hw == TINY_FAMILIES["qwen2_5_vl"].view(image_wh).grid_hw
