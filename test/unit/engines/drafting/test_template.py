from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.drafting.continuation import render_from
from vlm_perception.engines.drafting.template import (
    TRAINED_TEMPLATES,
    ReplyTemplate,
    gap_after,
    read_item,
    read_template,
)

WH = (1000, 800)
BOXES = (
    '```json\n[\n\t{"bbox_2d": [1, 2, 30, 40], "label": "cup 7"},\n\t'
    '{"bbox_2d": [5, 6, 70, 80], "label": "pan"}\n]\n```'
)


def written(template: ReplyTemplate) -> str:
    items = [item.texts[0] + render_from(item, 0, (10**9, 10**9), (0, 0), 0, ())[0] for item in template.items]
    return template.head + template.gap.join(items) + (template.tail or "")


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
    template = read_template(text)
    assert [item.numbers() for item in template.items] == numbers
    assert written(template) == text


@given(st.text(alphabet='{}[](),:" \n0123456789abcx=<>|', max_size=300) | st.text(max_size=100))
def test_any_text_can_be_taken_apart(text: str) -> None:
    template = read_template(text)
    assert len(template.items) > 0 or template.head == text
    for item in template.items:
        assert len(item.texts) == len(item.slots) + 1 == len(item.kinds) + 1


@pytest.mark.parametrize(
    ("head", "gap"), [("```json\n[\n\t", ",\n\t"), ("[", ","), ("```json\n[\n    ", ",\n    "), ("", "")]
)
def test_a_list_of_one_tells_what_would_stand_between(head: str, gap: str) -> None:
    assert gap_after(head) == gap


def test_trained_forms_know_nothing_but_the_form() -> None:
    assert all(slot is None for template in TRAINED_TEMPLATES for item in template.items for slot in item.slots)
    item = read_item('{"bbox_2d": [1, 2, 30, 40], "label": "cup"}')
    assert item.emptied() == TRAINED_TEMPLATES[0].items[0]
