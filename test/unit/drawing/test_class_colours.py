"""Colours follow from the label alone, differ, and carry readable text."""

from __future__ import annotations

import colorsys
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.drawing.class_colours import class_colours, contrast, text_colour

WORDS = ("red circle", "blue square", "cart", "face", "eye", "wheel", "person", "cup", "door handle", "红色的圆")


@given(st.lists(st.text(), max_size=10), st.text())
def test_a_colour_does_not_depend_on_the_other_labels(others: list[str], label: str) -> None:
    assert class_colours([*others, label])[label] == class_colours([label])[label]


@given(st.text(), st.text())
def test_text_on_a_colour_can_be_read(label: str, other: str) -> None:
    background = class_colours([label], [other, label])[label]
    assert contrast(text_colour(background), background) >= 4.5


def test_contrast_is_that_of_wcag() -> None:
    assert round(contrast((0, 0, 0), (255, 255, 255)), 2) == 21.0
    assert round(contrast((119, 119, 119), (255, 255, 255)), 2) == 4.48


def test_labels_have_colours_of_their_own_whatever_case_and_spacing() -> None:
    assert len(set(class_colours(WORDS).values())) == len(WORDS)
    assert len(set(class_colours(["Red  Circle", "red circle"]).values())) == 1


@given(st.lists(st.text(min_size=1, alphabet="abcdefgh"), min_size=2, max_size=6, unique=True))
def test_asked_phrases_are_far_apart_in_hue(targets: list[str]) -> None:
    colours = class_colours(targets, targets)
    hues = [360 * colorsys.rgb_to_hsv(*(value / 255 for value in colours[target]))[0] for target in targets]
    for index, hue in enumerate(hues):
        assert all(abs((hue - other + 180) % 360 - 180) > 25 for other in hues[:index])


def test_another_process_chooses_the_same_colour() -> None:
    code = "from vlm_perception.drawing.class_colours import class_colours; print(class_colours(['cart'])['cart'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(class_colours(["cart"])["cart"])
