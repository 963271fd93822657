"""Colours follow from the label alone, differ, and carry readable text."""

from __future__ import annotations

import colorsys
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.drawing.class_colours import class_colours, contrast, text_colour
from vlm_perception.drawing.colour_words import named_colour

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


@pytest.mark.parametrize(
    ("hue", "labels"),
    [
        (
            0,
            "red circle|Red  CUP|a dark red car|red-haired man|rote Tasse|taza roja|voiture rouge|红色的圆|赤い車",
        ),
        (28, "orange circle|orange|橙色的球|taza anaranjada"),
        (52, "yellow bus|gelber Bus|coche amarillo|fleurs jaunes|黄色的车|golden retriever"),
        (125, "green triangle|grüne Flasche|GRÜNER BALL|camisa verde|pomme verte|绿色瓶子"),
        (220, "blue square|blaues Quadrat|bolas azules|chaise bleue|蓝色椅子|青い鳥|navy blue jacket"),
        (280, "purple face|lila Tuch|balón morado|紫色花"),
        (335, "pink pig|rosa Schwein|粉红色的猪"),
        (25, "brown bear|brauner Bär|oso marrón|棕色熊"),
    ],
)
def test_a_label_that_names_a_colour_is_drawn_in_it(hue: int, labels: str) -> None:
    for label in labels.split("|"):
        for colours in (class_colours([label]), class_colours([label], [label]), class_colours([label], ["x", label])):
            drawn, saturation, _ = colorsys.rgb_to_hsv(*(value / 255 for value in colours[label]))
            assert abs((360 * drawn - hue + 180) % 360 - 180) <= 8, label
            assert saturation > 0.3


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 50, "black cat|schwarze Katze|黑色的猫|gato negro"),
        (250, 255, "white cup|weiße Tasse|chemise blanche|白色杯子"),
        (120, 190, "grey wall|graue Wand|灰色墙"),
    ],
)
def test_black_white_and_gray_are_what_they_are_called(low: int, high: int, labels: str) -> None:
    for label in labels.split("|"):
        assert all(low <= value <= high for value in class_colours([label])[label]), label


@pytest.mark.parametrize(
    "label", ["greenhouse", "blackberry", "redo", "hundred", "白菜", "黄瓜", "cup", "", "infrared"]
)
def test_a_word_that_only_looks_like_a_colour_is_none(label: str) -> None:
    assert named_colour(label) is None


def test_things_of_one_colour_differ_in_tone_and_others_keep_away_from_it() -> None:
    targets = ["red cup", "red plate", "red box", "person", "dog"]
    colours = class_colours(targets, targets)
    assert len(set(colours.values())) == len(targets)
    for other in ("person", "dog"):
        hue = 360 * colorsys.rgb_to_hsv(*(value / 255 for value in colours[other]))[0]
        assert abs((hue + 180) % 360 - 180) > 25


def test_another_process_chooses_the_same_colour() -> None:
    code = "from vlm_perception.drawing.class_colours import class_colours; print(class_colours(['cart'])['cart'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(class_colours(["cart"])["cart"])
