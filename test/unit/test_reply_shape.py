from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.item_walk import render_from
from vlm_perception.object_motion import moved
from vlm_perception.reply_shape import TRAINED_SHAPES, Shape, gap_after, read_item, read_shape

WH = (1000, 800)
BOXES = (
    '```json\n[\n\t{"bbox_2d": [1, 2, 30, 40], "label": "cup 7"},\n\t'
    '{"bbox_2d": [5, 6, 70, 80], "label": "pan"}\n]\n```'
)


def written(shape: Shape) -> str:
    items = [item.texts[0] + render_from(item, 0, (10**9, 10**9), (0, 0), 0, ())[0] for item in shape.items]
    return shape.head + shape.gap.join(items) + (shape.tail or "")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        # Qwen's own form; the number in a label is none.
        (BOXES, [[1, 2, 30, 40], [5, 6, 70, 80]]),
        # A sentence behind the list is no object, whatever it counts.
        (BOXES + "\nThere are 2 objects.", [[1, 2, 30, 40], [5, 6, 70, 80]]),
        # Indented over several lines.
        (
            '[\n  {\n    "bbox_2d": [\n      1,\n      2,\n      30,\n      40\n    ],\n    "label": "a"\n  }\n]',
            [[1, 2, 30, 40]],
        ),
        # Points, and the digits in a key, are not coordinates of a box.
        ('{"point_2d": [7, 8], "label": "eye"}', [[7, 8]]),
        ('<points x1="7" y1="8" x2="9" y2="10" alt="eyes">eyes</points>', [[7, 8, 9, 10]]),
        # One object a line.
        ("1,2,30,40 cup\n5,6,70,80 pan", [[1, 2, 30, 40], [5, 6, 70, 80]]),
        ("<|box_start|>(1,2),(30,40)<|box_end|>", [[1, 2, 30, 40]]),
        # Words alone.
        ("A red cup stands on 2 books.", []),
        ("```json\n[]\n```", []),
    ],
)
def test_a_reply_is_taken_apart_and_written_again(text: str, numbers: list[list[int]]) -> None:
    shape = read_shape(text)
    assert [item.numbers() for item in shape.items] == numbers
    assert written(shape) == text


@given(st.text(alphabet='{}[](),:" \n0123456789abcx=<>|', max_size=300) | st.text(max_size=100))
def test_any_text_can_be_taken_apart(text: str) -> None:
    shape = read_shape(text)
    assert len(shape.items) > 0 or shape.head == text
    for item in shape.items:
        assert len(item.texts) == len(item.slots) + 1 == len(item.kinds) + 1


@pytest.mark.parametrize(
    ("head", "gap"), [("```json\n[\n\t", ",\n\t"), ("[", ","), ("```json\n[\n    ", ",\n    "), ("", "")]
)
def test_a_list_of_one_tells_what_would_stand_between(head: str, gap: str) -> None:
    assert gap_after(head) == gap


def test_trained_forms_know_nothing_but_the_form() -> None:
    assert all(slot is None for shape in TRAINED_SHAPES for item in shape.items for slot in item.slots)
    item = read_item('{"bbox_2d": [1, 2, 30, 40], "label": "cup"}')
    assert item.emptied() == TRAINED_SHAPES[0].items[0]


def boxes(*items: tuple[str, int, int, int, int]) -> Shape:
    inside = ", ".join(f'{{"bbox_2d": [{a}, {b}, {c}, {d}], "label": "{label}"}}' for label, a, b, c, d in items)
    return read_shape(f"[{inside}]")


@pytest.mark.parametrize(
    ("before", "last", "ahead", "expected"),
    [
        # Straight on, by as much as lay between the two answers, or twice that.
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 14, 60, 54)], 1.0, [[30, 18, 70, 58]]),
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 14, 60, 54)], 2.0, [[40, 22, 80, 62]]),
        # A tremble of a pixel is no motion; neither is one edge that jumps by less than two.
        ([("cup", 10, 10, 50, 50)], [("cup", 10, 11, 51, 50)], 1.0, [[10, 11, 51, 50]]),
        # Each object has its own match: by label, then by place, not by its turn in the list.
        (
            [("pan", 300, 300, 400, 400), ("cup", 10, 10, 50, 50), ("cup", 500, 10, 540, 50)],
            [("cup", 510, 10, 550, 50), ("cup", 20, 10, 60, 50), ("pan", 300, 290, 400, 390)],
            1.0,
            [[520, 10, 560, 50], [30, 10, 70, 50], [300, 280, 400, 380]],
        ),
        # No match: another label, or too far away.
        ([("pan", 10, 10, 50, 50)], [("cup", 20, 14, 60, 54)], 1.0, [[20, 14, 60, 54]]),
        ([("cup", 900, 700, 950, 750)], [("cup", 20, 14, 60, 54)], 1.0, [[20, 14, 60, 54]]),
        # Never outside of the image, nor far into an unknown future or the past.
        ([("cup", 60, 10, 100, 50)], [("cup", 5, 10, 45, 50)], 1.0, [[0, 10, 0, 50]]),
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 10, 60, 50)], 99.0, [[50, 10, 90, 50]]),
        ([("cup", 10, 10, 50, 50)], [("cup", 20, 10, 60, 50)], -5.0, [[20, 10, 60, 50]]),
    ],
)
def test_objects_go_straight_on(
    before: list[tuple[str, int, int, int, int]],
    last: list[tuple[str, int, int, int, int]],
    ahead: float,
    expected: list[list[int]],
) -> None:
    result = moved(boxes(*last), boxes(*before), ahead, WH)
    assert [item.numbers() for item in result.items] == expected
    assert [item.words() for item in result.items] == [item.words() for item in boxes(*last).items]
