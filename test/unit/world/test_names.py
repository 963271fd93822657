"""Which remembered thing a find, a prompt and a user's words mean."""

from __future__ import annotations

import pytest

from vlm_perception.prompts.builder import build_prompt
from vlm_perception.world.names import (
    ALIKE,
    OTHER,
    SAME,
    asked_for,
    called,
    likeness,
    none_called,
    perhaps_called,
    phrase_of,
)
from vlm_perception.world.remembered import RememberedObject


def thing(label: str, phrase: str = "") -> RememberedObject:
    place = (0.0, 0.0, 0.0)
    return RememberedObject(1, label, phrase, phrase, "map", place, place, 0.5, 0.5, 1, 0, 1, 1, "/image", False)


@pytest.mark.parametrize(
    ("text", "label", "phrase"),
    [
        ("the red cup", "mug", "red cup"),
        ("cup; person", "cup", "cup"),
        ("cup; person", "dog", ""),
        ("what is it?", "it", ""),
    ],
)
def test_a_find_answers_one_phrase_or_nobody_knows(text: str, label: str, phrase: str) -> None:
    found = phrase_of(label, build_prompt(text))
    assert found.removeprefix("the ") == phrase


@pytest.mark.parametrize(
    ("known", "label", "phrase", "expected"),
    [
        (thing("cup"), "Cups", "", SAME),
        (thing("red cup"), "cup", "", ALIKE),
        (thing("cup"), "red cup", "", ALIKE),
        (thing("red cup", "cup"), "blue cup", "cup", OTHER),
        (thing("cup", "cup"), "mug", "cup", ALIKE),
        (thing("mug", "cup"), "cup", "all objects", ALIKE),
        (thing("mug", "cup"), "plate", "plate", OTHER),
        # The same phrase asked for both, and calls neither.
        (thing("cup", "all objects"), "chair", "all objects", OTHER),
        (thing("cup holder"), "cup", "", OTHER),
        (thing("", ""), "", "", OTHER),
    ],
)
def test_a_find_may_be_a_known_thing_by_its_names(
    known: RememberedObject, label: str, phrase: str, expected: float
) -> None:
    assert likeness(known, label, phrase) == expected


@pytest.mark.parametrize(
    ("known", "text", "expected"),
    [
        (thing("red cup"), "cups", True),
        (thing("cup"), "red cup", False),  # it may be a blue one
        (thing("mug", "cup"), "the cup; a person", True),
        (thing("chair", "all objects"), "all objects", True),
        (thing("chair", "chair"), "all objects", False),
        (thing("chair"), "what is on the chair?", False),
    ],
)
def test_only_what_was_asked_for_can_be_missed(known: RememberedObject, text: str, expected: bool) -> None:
    assert asked_for(known, build_prompt(text)) is expected


THINGS = [thing("red cup"), thing("cup"), thing("mug", "cup"), thing("cup holder"), thing("blue chair")]


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("the cups", ["red cup", "cup", "mug"]),
        ("red cup", ["red cup"]),
        ("holder", ["cup holder"]),
        # Nothing is guessed: what is called so is forgotten by these words.
        ("green cup", []),
        ("blue", []),
        ("chair leg", []),
        ("elephant", []),
        ("", []),
    ],
)
def test_a_user_s_words_find_what_is_called_so(words: str, labels: list[str]) -> None:
    assert [found.label for found in called(THINGS, words)] == labels


MAYBE = [thing("cup"), thing("mug", "cup"), thing("table"), thing("red chair"), thing("wall"), thing("box of tea")]
MAYBE += [thing("杯子"), thing("红色椅子"), thing("")]


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("green cup", ["cup", "mug"]),
        ("the cup on the table", ["cup", "mug"]),
        ("red", ["red chair"]),
        ("box", ["box of tea"]),
        ("绿色杯子", ["杯子"]),
        ("红色", ["红色椅子"]),
        # Another thing, though one word of it is known.
        ("cup holder", []),
        ("table lamp", []),
        ("fire in the wall", []),
        ("tea", []),
        ("椅子腿", []),
        ("杯子架", []),
        ("", []),
        ("?", []),
    ],
)
def test_what_may_be_meant_is_the_same_kind_of_thing(words: str, labels: list[str]) -> None:
    assert [found.label for found in perhaps_called(MAYBE, words)] == labels


@pytest.mark.parametrize(
    ("words", "first"),
    [("wall clock", "wall"), ("red cup", "cup, mug, red chair"), ("杯子架", "杯子"), ("piano", "cup")],
)
def test_what_is_told_instead_begins_with_what_is_near(words: str, first: str) -> None:
    assert f"; 9 other things are: {first}, " in none_called(MAYBE, words)
