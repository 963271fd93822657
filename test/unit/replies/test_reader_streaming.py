"""Reading a reply while it is written gives what reading the whole gives."""

from __future__ import annotations

from typing import Any

import pytest
from executed_lines import executed_lines
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlm_perception.replies.reader import AnswerReader, parse_answer
from vlm_perception.types import DetectedObject, ParsedAnswer

SIZES: dict[str, Any] = {"model_wh": (644, 476), "image_wh": (640, 480)}
CAT = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [5, 6, 70, 80], "label": "dog"}'
FRAGMENTS = [
    CAT,
    DOG,
    *"{}[]\"',:\\\n\r 1猫<>()#/*“”，：｛｝［］.-",
    "```json",
    "<points x1=",
    "<points x1='3' y1='4'",
    "</points>",
    '\n<point x="1" y="2">a</point>',
    "1,2,3,4 a",
    "\n12,13,34,45 b\n",
    '"bbox_2d": [5,6,7,8]',
    '"label": "',
    '{"bbox_2d": [1], "label": "x',
    "<|box_start|>",
    "<|box_start|>(1,2),(13,14)<|box_end|>",
    "<|object_ref_start|>nm<|object_ref_end|>",
    "cat(1,2),(3,4)",
    "[\n 1,\n",
    "5,\n",
    "6\n]",
    "//",
    "/*",
    "*/",
    "{{",
    '{"points": [',
    '"x": 1, "y": 2',
    "\ud800",
    "- label: cup\n",
    "  bbox: [1,2,3,4]\n",
    "bbox:\n- 5\n- 6\n- 7\n- 8\n",
    "name: a, box: (5,6,7,8)",
    "| cup | 1,2,3,4 |\n",
    "click(start_box='(5,6)')",
    '<p data-bbox="1 2 3 4">t</p>',
    "<1><2><3><4>",
    '"[{\\"bbox\\": [1,2,3,4], \\"label\\": \\"a\\"}]"',
    '\\"',
    '"cup": ',
    '"keypoints": {"a": [1, 2]}',
    "`cup` ",
    "cup, 1,2,3,4\n",
    "<cup>1,2,3,4</cup>",
    "x=5, y=6",
    ", x2: 7, y2: 8",
]
texts = st.text() | st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


def read(text: str, sizes: list[int]) -> tuple[list[DetectedObject], ParsedAnswer]:
    reader = AnswerReader(**SIZES)
    told: list[DetectedObject] = []
    at = turn = 0
    while at < len(text):
        width = sizes[turn % len(sizes)]
        told += reader.feed(text[at : at + width])
        at, turn = at + width, turn + 1
    return told, reader.finish()


# A tag over two lines, a list over two lines inside it, and a second tag: where are lines whole?
@example("<points x1=5,\n>#[\n 1,\n ]<}5,\n{[null", [1])
@example("[\n 1,\n<points x1='3' y1='4'\n2, 3, 4]\n<points", [1])
@example("{ {" + CAT + "1,2,3,4 a\n}", [3, 50])
@example("<box>1,2,3,4</box>\n\n<box>5,6,7,8</box><ref>a</ref>", [1])
@example(f'[{{"bbox_2d": [1, 2, 3, 4], "label": "lost}}, {CAT}]', [1])
@example('{"point":' + CAT + '{\\"a\\":｝', [1])
@example('"label": a\n-bbox:\n- 5\n- 6\n- 7\n- 8\n5', [1])
@example("\n<points x1=[\nbbox: [5,6,7,8]>cup [5,6,7,8]\n- 8\n<points x1='3'", [1])
@given(texts, st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(max_examples=300)
def test_chunks_change_nothing_and_nothing_told_is_taken_back(text: str, sizes: list[int]) -> None:
    told, parsed = read(text, sizes)
    assert parsed == parse_answer(text, **SIZES)
    assert tuple(told) == parsed.objects[: len(told)]


@given(texts)
def test_rejects_say_what_and_where(text: str) -> None:
    for reject in parse_answer(text, **SIZES).rejects:
        assert reject.reason
        assert reject.text == text[slice(*reject.span)] != ""


# a reply, and the last character after which its first object has to be known
TOLD_AFTER = [
    (f"```json\n[\n\t{CAT},\n\t{DOG}\n]\n```", "}"),  # with its brace, not with the list
    (f'{{"objects": [{CAT}, {DOG}]}}', "}"),  # nor with the wrapper
    ("1,2,30,40 cat\n5,6,70,80 dog\n", "\n"),  # with its line
    ('<points x1="1" y1="2" alt="a">a</points>\n<points x1="3" y1="4" alt="a">a</points>\n', "\n"),
    ("<ref>cat</ref><box>(1,2),(30,40)</box>\n", "\n"),
]


@pytest.mark.parametrize(("text", "last"), TOLD_AFTER)
def test_an_object_is_told_as_soon_as_it_is_complete(text: str, last: str) -> None:
    reader = AnswerReader(**SIZES)
    first = next(at for at, character in enumerate(text) if reader.feed(character))
    assert first == text.index(last)


def test_objects_in_text_come_before_those_behind_them() -> None:
    told, parsed = read(f"1,2,30,40 cat {CAT.replace('cat', 'cow')}\n5,6,70,80 dog", [1])
    assert [found.label for found in parsed.objects] == ["cat", "cow", "dog"]
    assert [found.label for found in told] == ["cat", "cow"]


# Shapes that make careless scanners slow: work per character must not grow with the length.
SLOW_SHAPES = [
    "{",
    "[",
    '{"',
    '"',
    '{"a":',
    "{'",
    "<points x1=",
    "1,",
    "[1,",
    "\n",
    " \n",
    '{"a":"\\',
    "`",
    '{"bbox_2d":[',
    "{}",
    "{ ",
    "\\",
    "7",
    "<points",
    "<points x1='1'\n",
    "<box>",
    "<|box_start|>(1,2),(3,4)<|box_end|>",
    "cat(1,2),(3,4) ",
    "[\n1,\n",
    "(1,",
    "{/*",
    "{//",
    '{"x":1,"y":2},',
    '{"a": "b" ',
    '{"a": " ',
    "- 1 ",
    CAT,
    f"{CAT},\n",
    "1,2,30,40 cat\n",
    "<points\n",
    "label: a\n",
    "bbox: [1,2,3,4]\n",
    "- 1\n",
    "| 1 ",
    "| 1 | 2 | 3 | 4 |\n",
    "f(x=",
    "x=1, ",
    "x1: 1, y1: 2, x2: 3, y2: 4\n",
    "<cup>1 ",
    "<|channel|>",
    "<p data-bbox=",
    "<1>",
    '"[{\\"a\\":',
    '\\"',
    "\\",
    '"[',
    "`a`",
    '{"a": [{"b": ',
    '{"a":[1,2,3,4],"a":[1,2,3,4],',
    "<think>",
    "</think>",
    "<answer>",
    "[[1,2],",
]


@pytest.mark.parametrize("width", [3, 10**6])
@pytest.mark.parametrize("shape", SLOW_SHAPES)
def test_time_is_linear(shape: str, width: int) -> None:
    """Counts executed lines instead of seconds: four times the text, at most five times the lines."""
    short, long = (executed_lines(lambda: read(shape * count, [width])) for count in (200, 800))  # noqa: B023
    assert long < 5 * short + 2000
