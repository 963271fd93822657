"""The pictures of the examples are drawn the same every time and hold what the prompts ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlm_perception.apps.web.examples import examples, examples_for
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes.relations import on_top_of
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Task


def test_they_show_different_tasks() -> None:
    asked = {example.name: build_prompt(example.prompt).task for example in examples()}
    assert asked == {
        "Attributes": Task.GROUND,
        "Description": Task.DETECT,
        "Count": Task.COUNT,
        "Key points": Task.POINT,
        "Relations": Task.DETECT,
        "Not there": Task.DETECT,
        "Chinese": Task.DETECT,
        "On top": Task.DETECT,
        "In words": Task.DESCRIBE,
        "Yes or no": Task.DESCRIBE,
        "Reasoning": Task.COUNT,
        "Letters": Task.READ,
        "Video": Task.WATCH,
    }
    assert len(asked) == len(examples())


def test_the_pictures_hold_what_is_asked_for() -> None:
    truths = {example.name: example.scene.truths for example in examples()}
    assert {truth.attributes["pattern"] for truth in truths["Attributes"]} == {"plain", "striped"}
    assert [truth.label for truth in truths["Description"]].count("red cart") == 1
    assert sum(truth.label.endswith("cart") for truth in truths["Count"]) == 2
    assert [len(truth.points) for truth in truths["Key points"] if truth.label == "red cart"] == [2]
    assert "yellow face" not in [truth.label for truth in truths["Not there"]]
    assert [truth.attributes["of"] for truth in truths["Relations"] if truth.label == "shadow"] == ["blue circle"]


def test_what_a_tiny_model_has_not_learned_is_asked_of_others_alone() -> None:
    names = {
        model: [example.name for example in examples_for(resolve_model(model))]
        for model in ("tiny", "tiny-qwen3-vl", "Qwen/Qwen2.5-VL-3B-Instruct", "http://robot:8000/v1")
    }
    few = [example.name for example in examples() if not example.needs]
    every = [example.name for example in examples()]
    assert list(names.values()) == [every, few, every, every]


def test_a_checkpoint_is_known_by_its_card_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own").symlink_to(resolve_model("tiny-qwen3-vl"))
    own = [example.name for example in examples_for("~/own")]
    assert own == [example.name for example in examples_for(resolve_model("tiny-qwen3-vl"))]
    assert len(own) < len(examples())


def test_the_pictures_of_relations_words_and_letters_hold_what_is_asked_for() -> None:
    truths = {example.name: {truth.label: truth for truth in example.scene.truths} for example in examples()}
    on_top = truths["On top"]
    side_px = (640 * 480) ** 0.5
    told = {n: on_top_of(t.xyxy, on_top["blue square"].xyxy, side_px) for n, t in on_top.items() if "circle" in n}
    assert told == {"yellow circle": True, "red circle": False}
    assert "green face" in truths["Yes or no"]
    assert [len(truth.points) for label, truth in truths["Reasoning"].items() if "face" in label] == [2, 2]
    assert [truth.text[0] for truth in truths["Letters"].values() if truth.text] == ["A7", "K9"]


def test_in_the_film_one_thing_moves_and_stays_in_view() -> None:
    (film,) = [example.film for example in examples() if example.film is not None]
    assert [one.what for one in film.happenings] == ["moves"]
