"""The pictures of the examples are drawn the same every time and hold what the prompts ask for."""

from __future__ import annotations

from vlm_perception.apps.web.examples import examples
from vlm_perception.prompts.builder import build_prompt
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
    }


def test_the_pictures_hold_what_is_asked_for() -> None:
    truths = {example.name: example.scene.truths for example in examples()}
    assert {truth.attributes["pattern"] for truth in truths["Attributes"]} == {"plain", "striped"}
    assert [truth.label for truth in truths["Description"]].count("red cart") == 1
    assert sum(truth.label.endswith("cart") for truth in truths["Count"]) == 2
    assert [len(truth.points) for truth in truths["Key points"] if truth.label == "red cart"] == [2]
    assert "yellow face" not in [truth.label for truth in truths["Not there"]]
    assert [truth.attributes["of"] for truth in truths["Relations"] if truth.label == "shadow"] == ["blue circle"]
