"""With several things asked, each object carries the phrase that it answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.labels import matching_phrase, name_objects
from vlm_perception.types import DetectedObject, Prompt, Task

CUPS = ("cup", "person", "door handle")

# What the model said, what was asked, what it means.
MEANT: list[tuple[str, tuple[str, ...], str | None]] = [
    ("cup", CUPS, "cup"),
    ("Door Handle", CUPS, "door handle"),  # case
    ("ｃｕｐ", CUPS, "cup"),  # full-width letters
    ("the cups", CUPS, "cup"),  # article and plural
    ("people", CUPS, "person"),
    ("door handles", CUPS, "door handle"),
    ("handle door", CUPS, "door handle"),  # the same words
    ("boxes", ("each box", "all boys"), "each box"),
    ("berry", ("the berries", "the glasses"), "the berries"),
    ("glass", ("the berries", "the glasses"), "the glasses"),
    ("bus", ("buses", "cars"), "buses"),
    ("shelf", ("the shelves", "cup"), "the shelves"),
    ("owl's eye", ("the owls' eyes", "the beak"), "the owls' eyes"),
    # One inside the other.
    ("handle", CUPS, "door handle"),
    ("silver door handle with a lock", CUPS, "door handle"),
    ("person", ("the person in the red shirt", "dog"), "the person in the red shirt"),
    ("large red cup", ("cup", "red cup"), "red cup"),  # the closer one
    ("red cups", ("cup", "red cup"), "red cup"),
    # Most words shared, and the same thing.
    ("black door handle", ("steel door handle", "person"), "steel door handle"),
    ("small red plate", ("small red cup", "person"), None),  # most words, but another thing
    ("red car", ("red cup", "person"), None),
    ("red cup", ("blue cup", "person"), None),
    # Several would fit: the model's word is all that is known.
    ("cup", ("red cup", "blue cup"), None),
    # Nothing fits.
    ("elephant", CUPS, None),
    ("capacity", CUPS, None),  # letters are not words
    ("", CUPS, None),
    ("the", CUPS, None),
    ("?!", CUPS, None),
    # Chinese, which has no spaces and no plural.
    ("红色杯子", ("红色杯子", "人"), "红色杯子"),
    ("杯子", ("红色杯子", "人"), "红色杯子"),
    ("红色的杯子", ("红色杯子", "人"), "红色杯子"),
    ("红色杯子", ("所有的杯子", "每个人"), "所有的杯子"),
    ("人", ("所有的杯子", "每个人"), "每个人"),
    ("红色方形", ("红色圆形", "蓝色小车"), None),
    ("杯子", ("红色杯子", "蓝色杯子"), None),
    # Others.
    ("Tasse", ("rote Tasse", "Teller"), "rote Tasse"),
    ("taza", ("taza roja", "plato"), "taza roja"),
    ("コップ", ("コップ", "人"), "コップ"),
]


@pytest.mark.parametrize(("label", "asked", "meant"), MEANT)
def test_a_label_means_one_of_the_asked_phrases(label: str, asked: tuple[str, ...], meant: str | None) -> None:
    assert matching_phrase(label, asked) == meant
    assert matching_phrase(label, asked[::-1]) == meant, "the order of the targets does not matter"


def named(label: str, targets: tuple[str, ...], text: str = "what was typed") -> DetectedObject:
    found = DetectedObject(label, (1.0, 2.0, 3.0, 4.0), None, {"sub_label": "chipped"}, (5, 9), 0.5)
    (result,) = name_objects([found], Prompt(text, Task.DETECT, "Locate ...", targets))
    assert (result.xyxy, result.span, result.score) == (found.xyxy, found.span, found.score)
    return result


def test_the_models_own_wording_is_kept_beside_the_asked_phrase() -> None:
    result = named("The Cups", CUPS)
    assert (result.label, dict(result.attributes)) == ("cup", {"sub_label": "chipped", "model_label": "The Cups"})


@pytest.mark.parametrize("label", ["cup", "elephant"])
def test_an_unchanged_label_needs_no_second_wording(label: str) -> None:
    result = named(label, CUPS)
    assert (result.label, dict(result.attributes)) == (label, {"sub_label": "chipped"})


@pytest.mark.parametrize(
    ("label", "targets", "published"),
    [
        ("red circle", ("every object",), "red circle"),  # says more than the phrase
        ("The Cups", ("cup",), "The Cups"),
        ("", ("cup",), "cup"),
        ("", CUPS, ""),  # nobody knows which
        ("", (), "what was typed"),
        ("anything", (), "anything"),
    ],
)
def test_one_target_leaves_the_label_to_the_model(label: str, targets: tuple[str, ...], published: str) -> None:
    result = named(label, targets)
    assert (result.label, dict(result.attributes)) == (published, {"sub_label": "chipped"})


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=4))
def test_any_label_gets_an_asked_phrase_or_none(label: str, phrases: list[str]) -> None:
    assert matching_phrase(label, phrases) in (None, *phrases)
