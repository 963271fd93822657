"""Replies as models write them beside the trained form: a row per failure, with where it comes from."""

from __future__ import annotations

import pytest

from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import ParsedAnswer

Shown = list[tuple[str, tuple[float, ...]]]

WH = (1000, 1000)
CAT = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
BOX, BOX2, POINT = (1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 70.0, 80.0), (7.0, 8.0)
IS_CAT, IS_DOG, IS_EYE = ("cat", BOX), ("dog", BOX2), ("eye", POINT)
REF, REF_END = "<|object_ref_start|>", "<|object_ref_end|>"
START, END = "<|box_start|>", "<|box_end|>"


def parse(text: str) -> ParsedAnswer:
    return parse_answer(text, model_wh=WH, image_wh=WH)


def shown(parsed: ParsedAnswer) -> Shown:
    return [(found.label, found.xyxy or found.point_xy or ()) for found in parsed.objects]


TOKENS: list[tuple[str, Shown]] = [
    (f"{REF}cat{REF_END}{START}(1,2),(30,40){END}", [IS_CAT]),  # Qwen2-VL's grounding form
    (f"{START}(1,2),(30,40){END}{REF}cat{REF_END}", [IS_CAT]),  # the name after its box
    (f"{START}(1,2),(30,40){END}{REF}cat{REF_END}\n{START}(5,6),(70,80){END}{REF}dog{REF_END}", [IS_CAT, IS_DOG]),
    (f"{REF}cat{REF_END}{START}(1,2),(30,40){END}{REF}dog{REF_END}{START}(5,6),(70,80){END}", [IS_CAT, IS_DOG]),
    (f"{REF}a{REF_END}{START}(1,2),(30,40){END}{START}(5,6),(70,80){END}", [("a", BOX), ("a", BOX2)]),  # one name
    (f"{REF}a{REF_END}{START}(1,2),(30,40)(5,6),(70,80){END}", [("a", BOX), ("a", BOX2)]),  # one pair of tokens
    (f"{REF}eye{REF_END}{START}(7,8){END}", [IS_EYE]),  # a point
    (f"{START}(1,2),(30,40){END}", [("", BOX)]),  # no name at all
    ("<ref>cat</ref><box>(1,2),(30,40)</box>", [IS_CAT]),  # Qwen-VL's first form
    ("<ref>the cat</ref> sits at <box>(1, 2), (30, 40)</box>.", [("the cat", BOX)]),
    (f"{REF}cat{REF_END}{START}[1, 2, 30, 40]{END}", [IS_CAT]),  # a list between the tokens
    ("cat(1,2),(30,40)", [IS_CAT]),  # tokens stripped by the tokenizer
    ("cat(1,2),(30,40)dog(5,6),(70,80)", [IS_CAT, IS_DOG]),
    ("cat(1,2),(30,40)\ndog(5,6),(70,80)", [IS_CAT, IS_DOG]),
    ("a(1,2),(30,40)(5,6),(70,80)", [("a", BOX), ("a", BOX2)]),
    ("红色的猫（1，2），（30，40）", [("红色的猫", BOX)]),  # full-width signs
    ("- cat: (1,2),(30,40)", [IS_CAT]),  # a list of names
    ("The cat is at (1,2),(30,40).", [("", BOX)]),  # in a sentence: it is not called "The cat is at"
    ("f(1,2) and g(30,40)", []),  # without tokens a pair alone may be anything
    ("- **cat**: [1, 2, 30, 40]", [IS_CAT]),  # Markdown
    ("1. cat: [1, 2, 30, 40]\n2. dog: [5, 6, 70, 80]", [IS_CAT, IS_DOG]),
    ('[[1, 2, 30, 40, "cat"], [5, 6, 70, 80, "dog"]]', [IS_CAT, IS_DOG]),  # the name as fifth
    ("[\n  [\n    1,\n    2,\n    30,\n    40\n  ]\n]", [("", BOX)]),  # a number a line
    ('<points x1="7" y1="8"\n x2="9" y2="10" alt="eye">eye</points>', [IS_EYE, ("eye", (9.0, 10.0))]),  # two lines
    ("<point>7 8</point>", [("", POINT)]),  # numbers inside the tag
    ('<points x1="7.0" y1="8.0" alt="red “eye”">red “eye”</points>', [("red “eye", POINT)]),
    ("1,2,30,40 cat\r\n5,6,70,80 dog\r\n", [IS_CAT, IS_DOG]),  # CRLF
    ("1，2，30，40 猫", [("猫", BOX)]),
]


@pytest.mark.parametrize(("text", "objects"), TOKENS)
def test_forms_outside_of_json(text: str, objects: Shown) -> None:
    parsed = parse(text)
    assert shown(parsed) == objects
    assert parsed.rejects == ()


LENIENT: list[tuple[str, Shown]] = [
    ("［｛“bbox_2d”：［1，2，30，40］，“label”：“cat”｝］", [IS_CAT]),  # full-width signs throughout
    ('{"bbox_2d": [１, ２, ３０, ４０], "label": "cat"}', [IS_CAT]),  # full-width digits
    ('{"bbox_2d": [1, 2, 30, 40], "label": "红，圆：（大）"}', [("红，圆：（大）", BOX)]),  # but never inside a name
    ('{“bbox_2d”: [1, 2, 30, 40], “label”: “the "big" cat”}', [('the "big" cat', BOX)]),  # typographic quotes
    (f"[\r\n\t{CAT}\r\n]\r\n", [IS_CAT]),  # CRLF
    ('{"bbox_2d": [1, 2, 30, 40], // the {cat}\n"label": "cat"}', [IS_CAT]),  # comments
    ('{"bbox_2d": [1, 2, 30, 40], # it\'s "here"\n"label": "cat"}', [IS_CAT]),
    ('{"bbox_2d": [1, 2, /* left, "top" } */ 30, 40], "label": "cat" /* end */}', [IS_CAT]),
    ('{"label": "cat" // animal\n, "bbox_2d": [1, 2, 30, 40]}', [IS_CAT]),
    ('{"bbox_2d": [1, 2, 30, 40], "label": "http://a/#b"}', [("http://a/#b", BOX)]),  # none inside a name
    ('{"bbox_2d": [1, 2, 30, 40] "label": "cat"}', [IS_CAT]),  # comma lost
    ('{"label": "cat" "bbox_2d": [1, 2, 30, 40]}', [IS_CAT]),  # comma lost behind a string
    ('{"label": "cat"\n"bbox_2d": [1, 2, 30, 40]}', [IS_CAT]),
    ('{"bbox_2d": [1 2 30 40], "label": "cat"}', [IS_CAT]),  # commas lost between numbers
    ('{"bbox_2d": [1, 2, 30, 40, "label": "cat"}', [IS_CAT]),  # bracket lost
    (f'[{CAT} {{"bbox_2d": [5, 6, 70, 80], "label": "dog"}}]', [IS_CAT, IS_DOG]),  # comma lost between items
    ('{"bbox_2d": [1, 2, 30, 40,], "label": "cat",}', [IS_CAT]),  # commas too many
    ("{'bbox_2d': (1, 2, 30, 40), 'label': 'cat', 'id': None, 'ok': True}", [IS_CAT]),  # Python
    ("{bbox_2d: [1, 2, 30, 40], label: red cat}", [("red cat", BOX)]),  # no quotes at all
    ('{"bbox_2d": [1, 2, 30, 40], "label": "a "big", red cat"}', [('a "big", red cat', BOX)]),  # bare quotes, a comma
    ('{"bbox_2d": [1, 2, 30, 40], "label": "15" tall"}', [('15" tall', BOX)]),  # inches
    ("{'bbox_2d': [1, 2, 30, 40], 'label': 'dog's bowl'}", [("dog's bowl", BOX)]),
    ('{"bbox_2d": [1, 2, 30, 40], "label": "two\nlines"}', [("two lines", BOX)]),  # a line end in a string
    ('{"bbox_2d": "1, 2, 30, 40", "label": "cat"}', [IS_CAT]),  # all of it as a string
    ('{"bbox_2d": "[1, 2, 30, 40]", "label": "cat"}', [IS_CAT]),
    ('{"bbox_2d": "(1,2),(30,40)", "label": "cat"}', [IS_CAT]),
    ('{"bbox_2d": [1.0, "2.0", 3e1, "40"], "label": "cat"}', [IS_CAT]),  # floats and strings
    ('{"bbox_2d": [[[1, 2], [30, 40]], [[5, 6], [70, 80]]], "label": "a"}', [("a", BOX), ("a", BOX2)]),
    ('{"bbox_2d": [[1, 2, 30, 40], [5, 6, 70, 80]], "label": ["cat", "dog"]}', [IS_CAT, IS_DOG]),  # a name each
    ('{"bbox": {"x1": 1, "y1": 2, "x2": 30, "y2": 40}, "label": "cat"}', [IS_CAT]),  # a key a number
    ('{"bbox": {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}, "label": "cat"}', [IS_CAT]),
    ('{"bbox": {"x": 1, "y": 2, "width": 29, "height": 38}, "label": "cat"}', [IS_CAT]),
    ('[{"x1": 1, "y1": 2, "x2": 30, "y2": 40, "label": "cat"}]', [IS_CAT]),  # and without any other key
    ('{"points": [{"x": 7, "y": 8}], "label": "eye"}', [IS_EYE]),
    ('{"points": [{"x": 7, "y": 8, "label": "eye"}]}', [IS_EYE]),  # a wrapper that is called like a key
    ('{"objects": [{"x1": 1, "y1": 2, "x2": 30, "y2": 40}]}', [("", BOX)]),
    ('{"boxes": [[1, 2, 30, 40], [5, 6, 70, 80]], "labels": ["cat", "dog"]}', [IS_CAT, IS_DOG]),  # Florence's way
    ('{"detections": [{"bounding_box": [1, 2, 30, 40], "class_name": "cat"}]}', [IS_CAT]),
    (f"{{{CAT}}}", [IS_CAT]),  # a brace too many
    (f"{{{{ {CAT} }}}}", [IS_CAT]),  # a template's braces
    (f"[{CAT}]]]}}}}", [IS_CAT]),  # brackets too many
    (f"<think>Look at [1] and {{it}}.</think>[{CAT}]", [IS_CAT]),  # thinking before
]


@pytest.mark.parametrize(("text", "objects"), LENIENT)
def test_json_that_is_none(text: str, objects: Shown) -> None:
    parsed = parse(text)
    assert shown(parsed) == objects
    assert parsed.rejects == ()


REFUSED = [
    (f"{START}(1,2),(30){END}", "3 numbers instead of 4"),
    (f"{START}(nan,2),(30,40){END}", "not finite"),
    (f"{START}{END}", "0 numbers"),
    ("<|quad_start|>(1,2),(30,2),(30,40),(1,40)<|quad_end|>", "8 numbers instead of 4"),  # a quad is no box
    (f"{START}(1,2),(3", "cut off"),
    ("9,9,9,9 cat", "no area"),
    ("2000,2000,3000,3000 cat", "outside"),
    ("{'bbox_2d': [nan, 2, 30, 40], 'label': 'x'}", "not finite"),  # Python's words
    ("{'bbox_2d': [-inf, 2, 30, 40], 'label': 'x'}", "not finite"),
    ("{'bbox_2d': None, 'label': 'x'}", "null"),
    ('{"bbox_2d": ["inf", 2, 30, 40], "label": "x"}', "not finite"),
    ('{"bbox_2d": ["1_0", 2, 30, 40], "label": "x"}', "not a number"),  # what float() would take for 10
    ('{"bbox_2d": ["10px", 2, 30, 40], "label": "x"}', "not a number"),
    ('{"bbox_2d": [1, 2, 30, 40, 5, 6, 70, 80], "label": "x"}', "8 numbers instead of 4"),
    ('{"bbox_2d": {"x1": 1, "y1": 2}, "label": "x"}', "not a list"),
    ('{"bbox": {"x": 1, "y": 2, "width": 0, "height": 9}, "label": "x"}', "no area"),
    ('{"bbox_2d": [1, 2, 30, 40], "label"}', "no key"),
    ('{"bbox_2d": "left of the cat", "label": "x"}', "not a list"),
    ('{"bbox_2d": [1, 2, 30, 40], "label": "x" // lost', "cut off"),  # cut in a comment
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_refused_with_reason_and_place(text: str, reason: str) -> None:
    parsed = parse(f"{text}\n{CAT}" if reason != "cut off" else text)
    assert shown(parsed) == ([IS_CAT] if reason != "cut off" else [])
    (reject,) = parsed.rejects
    assert reason in reject.reason
    assert reject.span == (0, len(text))
    assert reject.text == text
