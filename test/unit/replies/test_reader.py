"""Replies to objects and rejects: a row per form, as models write them, with what makes it worth a row."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_perception.replies import json_scanner
from vlm_perception.replies.reader import AnswerReader, parse_answer
from vlm_perception.types import ParsedAnswer

WH = (1000, 1000)
CAT = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [5, 6, 70, 80], "label": "dog"}'
BOX, BOX2, POINT = (1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 70.0, 80.0), (7.0, 8.0)
IS_CAT, IS_DOG, IS_EYE = ("cat", BOX), ("dog", BOX2), ("eye", POINT)
REF, REF_END = "<|object_ref_start|>", "<|object_ref_end|>"
START, END = "<|box_start|>", "<|box_end|>"

Shown = list[tuple[str, tuple[float, ...]]]


def parse(text: str) -> ParsedAnswer:
    return parse_answer(text, model_wh=WH, image_wh=WH)


def shown(parsed: ParsedAnswer) -> Shown:
    return [(found.label, found.xyxy or found.point_xy or ()) for found in parsed.objects]


# text, objects, prose
ACCEPTED: list[tuple[str, Shown, str]] = [
    (f"```json\n[\n\t{CAT},\n\t{DOG}\n]\n```", [IS_CAT, IS_DOG], ""),  # the form Qwen was trained for, tabs
    (f"```json\n[\n    {CAT}\n]\n```", [IS_CAT], ""),  # with spaces
    (f"[{CAT}, {DOG}]", [IS_CAT, IS_DOG], ""),  # bare list
    (CAT, [IS_CAT], ""),  # lone object
    (f"{CAT}\n{DOG}", [IS_CAT, IS_DOG], ""),  # several objects without a list
    (f"[{CAT}]\n[{DOG}]", [IS_CAT, IS_DOG], ""),  # several lists
    (f'{{"objects": [{CAT}], "count": 1}}', [IS_CAT], "count: 1"),  # wrapper, which also says something
    (f'{{"result": {{"animals": [{CAT}, {DOG}]}}}}', [IS_CAT, IS_DOG], ""),  # wrapper in a wrapper
    (f"Here [see below] it is: [{CAT}]", [IS_CAT], "Here [see below] it is:"),  # brackets in prose before
    (f"Use {{braces}} so: [{CAT}]", [IS_CAT], "Use {braces} so:"),  # braces in prose before
    (f"An open {{ here: [{CAT}]", [IS_CAT], "An open { here:"),  # a brace that never closes
    (f"First {CAT} and then {DOG}, done.", [IS_CAT, IS_DOG], "First and then done."),  # prose between
    (f"```json\n[{CAT}]\n```\nThere is one cat.", [IS_CAT], "There is one cat."),  # the cookbook's counting form
    (f"```JSON\n[{CAT}]\n```", [IS_CAT], ""),  # fence in capitals
    (f"```json\n[{CAT}]", [IS_CAT], ""),  # fence never closed
    ('{"bbox": [1, 2, 30, 40], "name": "cat"}', [IS_CAT], ""),  # other keys for box and label
    ('{"box": [1, 2, 30, 40], "class": "cat"}', [IS_CAT], ""),
    ('{"box_2d": [1, 2, 30, 40], "category": "cat"}', [IS_CAT], ""),
    ('{"point_2d": [7, 8], "label": "eye"}', [IS_EYE], ""),
    ('{"point": [7, 8], "label": "eye"}', [IS_EYE], ""),
    ('{"points": [[7, 8], [9, 10]], "label": "eye"}', [IS_EYE, ("eye", (9.0, 10.0))], ""),
    ('{"bbox_2d": [[1, 2, 30, 40], [5, 6, 70, 80]], "label": "a"}', [("a", BOX), ("a", BOX2)], ""),
    ('{"bbox_2d": [[1, 2], [30, 40]], "label": "cat"}', [IS_CAT], ""),  # two corners
    ('{"bbox_2d": [1, 2, 30, 40], "point_2d": [7, 8], "label": "a"}', [("a", BOX)], ""),  # one thing with both
    ('<points x1="7" y1="8" x2="9" y2="10" alt="eye">eye</points>', [IS_EYE, ("eye", (9.0, 10.0))], ""),  # Qwen's
    ('<point x="7" y="8" alt="eye">eye</point>', [IS_EYE], ""),
    ('<points x1="7" y1="8" alt="eye">ey', [IS_EYE], "ey"),  # cut in the name: alt has it
    ("Eyes: <points x1='7' y1='8'>eye</points>.", [IS_EYE], "Eyes:"),  # single quotes, no alt
    ("1,2,30,40 cat\n5, 6, 70, 80 dog", [IS_CAT, IS_DOG], ""),  # plain lines
    ("- [1, 2, 30, 40]: cat", [IS_CAT], ""),  # a list item that names its box
    ("The cat is at [1, 2, 30, 40] now.", [("", BOX)], "The cat is at now."),  # a box in a sentence
    ("[\n[1, 2, 30, 40],\n[5, 6, 70, 80]\n]", [("", BOX), ("", BOX2)], ""),  # lists of numbers only
    ("[1, 2, 30, 40], [5, 6, 70, 80]", [("", BOX), ("", BOX2)], ""),
    ("{'bbox_2d': [1, 2, 30, 40], 'label': 'cat\\'s'}", [("cat's", BOX)], ""),
    ('{"bbox_2d": [1, 2, 30, 40,], "label": "cat",},', [IS_CAT], ""),  # trailing commas
    ('{"bbox_2d": [1, 40, 30, 2], "label": "cat"}', [IS_CAT], ""),  # the other diagonal
    ('{"bbox_2d": [1, 2, 30, 40], "label": "a } b { c ] d"}', [("a } b { c ] d", BOX)], ""),  # signs in a label
    ('{"bbox_2d": [1, 2, 30, 40], "label": "C:\\dir"}', [("C:\\dir", BOX)], ""),  # a backslash nobody doubled
    ('{"bbox_2d": [1, 2, 30, 40], "label": "红色的圆"}', [("红色的圆", BOX)], ""),  # labels in any language
    (
        '{"bbox_2d": [1, 2, 30, 40], "label": "\\ud800x"}',
        [("?x", BOX)],
        "",
    ),  # half a character: no message holds it
    ('{"bbox_2d": [1, 2, 30, 40], "label": "a\\u0000b"}', [("a b", BOX)], ""),  # NUL ends a C string
    ('{"bbox_2d": [1, 2, 30, 40]}', [("", BOX)], ""),  # no label: the caller knows what was asked
    (
        '{"bbox_2d": [-50, -9, 30, 40], "label": "cat"}',
        [("cat", (0.0, 0.0, 30.0, 40.0))],
        "",
    ),  # partly outside: clipped
    ('{"point_2d": [1000, 0], "label": "corner"}', [("corner", (1000.0, 0.0))], ""),  # on the edge
    ("```json\n[]\n```", [], ""),  # nothing found
    ('{"objects": []}', [], ""),  # nothing found, wrapped
    ("```json\n[]\n```\nThere is no cat.", [], "There is no cat."),
    ("A red cart stands left of a face.", [], "A red cart stands left of a face."),  # text-only answers are answers
    ('{"answer": "two"}', [], '{"answer": "two"}'),  # JSON that is no list of objects stays text
    ("", [], ""),
    ("1,2,3,4,5,6 are numbers", [], "1,2,3,4,5,6 are numbers"),  # six numbers are no box
    (
        f'[{{"label": "cart", "bbox_2d": [1, 2, 30, 40], "parts": [{DOG}]}}]',
        [IS_DOG, ("cart", BOX)],
        "",
    ),  # nested: the inner one is complete first
]


@pytest.mark.parametrize(("text", "objects", "prose"), ACCEPTED)
def test_accepted_forms(text: str, objects: Shown, prose: str) -> None:
    parsed = parse(text)
    assert shown(parsed) == objects
    assert parsed.rejects == ()
    assert parsed.text == prose


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
    ('{"bbox_2d": [1 2 30 40], "label": "cat"}', [IS_CAT]),  # commas lost between numbers
    ('{"bbox_2d": [1, 2, 30, 40, "label": "cat"}', [IS_CAT]),  # bracket lost
    (f'[{CAT} {{"bbox_2d": [5, 6, 70, 80], "label": "dog"}}]', [IS_CAT, IS_DOG]),  # comma lost between items
    ("{'bbox_2d': (1, 2, 30, 40), 'label': 'cat', 'id': None, 'ok': True}", [IS_CAT]),  # Python
    ("{bbox_2d: [1, 2, 30, 40], label: red cat}", [("red cat", BOX)]),  # no quotes at all
    ('{bbox_2d": [1, 2, 30, 40], "label": "cat"}', [IS_CAT]),  # a quote lost
    ('{"bbox_2d": [1, 2, 30, 40], "label": "\\u12 x"}', [("\\u12 x", BOX)]),  # no escape after all
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


@pytest.mark.parametrize(("text", "objects"), TOKENS + LENIENT)
def test_other_forms(text: str, objects: Shown) -> None:
    parsed = parse(text)
    assert shown(parsed) == objects
    assert parsed.rejects == ()


# reply, prose
LOST_FENCES = [
    (f"json\n[{CAT}]\n```", ""),
    (f"JSON\n\n[{CAT}]\n```\nThere is one cat.", "There is one cat."),
    ("json\n[]\n```", ""),
    (f"'''json\n[{CAT}]\n'''", ""),
    (f"~~~json\n[{CAT}]\n~~~", ""),
    (f"`json\n[{CAT}]\n`", ""),
    ("yaml\n- label: cat\n  bbox: [1, 2, 30, 40]\n```", ""),
    (f"<|im_start|>json\n[{CAT}]\n```<|im_end|>", ""),
    ("json\n```", ""),
    ("```\n", ""),
    ('json\n{"answer": "two"}\n```', '{"answer": "two"}'),
    ("It is stored as json.", "It is stored as json."),
    ("json", "json"),  # the answer to "which format is it?"
    ("```python\nprint(1)\n```", "```python\nprint(1)\n```"),  # an answer that is code
]


@pytest.mark.parametrize(("text", "prose"), LOST_FENCES)
def test_a_fence_that_lost_its_opening_is_no_prose(text: str, prose: str) -> None:
    assert parse(text).text == prose


# one object, what it means
REPEATED_KEYS = [
    (CAT[:-1] + ", " + DOG[1:], [IS_CAT, IS_DOG]),  # the braces between two objects were lost
    ('{"label": "cat", "bbox_2d": [1, 2, 30, 40], "label": "dog", "bbox_2d": [5, 6, 70, 80]}', [IS_CAT, IS_DOG]),
    (CAT[:-1] + ', "bbox_2d": [5, 6, 70, 80]}', [IS_CAT, ("", BOX2)]),
    (CAT[:-1] + ', "bbox_2d": [1, 2], "label": "x", ' + DOG[1:], [IS_CAT, IS_DOG]),  # one of them is bad
    (CAT[:-1] + ', "id": 1, ' + DOG[1:-1] + ', "id": 2}', [IS_CAT, IS_DOG]),
    (CAT[:-1] + ', "label": "cow"}', [("cow", BOX)]),  # one thing, named twice
    ('{"point_2d": [7, 8], "label": "eye", "point_2d": [9, 10], "label": "ear"}', [IS_EYE, ("ear", (9.0, 10.0))]),
]


@pytest.mark.parametrize(("text", "objects"), REPEATED_KEYS)
def test_a_repeated_key_begins_the_next_object(text: str, objects: Shown) -> None:
    for reply in (text, f"[{text}]", f'{{"objects": [{text}]}}'):
        parsed = parse(reply)
        assert shown(parsed) == objects
        assert parsed.text == ""
        assert all(reply[slice(*found.span)].count("label") <= 2 for found in parsed.objects)


# one bad item, word in its reason
BAD_ITEMS = [
    ('{"bbox_2d": [NaN, 2, 30, 40], "label": "x"}', "not finite"),
    ('{"bbox_2d": [1, 2, Infinity, 40], "label": "x"}', "not finite"),
    ('{"bbox_2d": [1e999, 2, 30, 40], "label": "x"}', "not finite"),
    ('{"bbox_2d": [' + "9" * 5000 + ', 2, 30, 40], "label": "x"}', "not finite"),  # more digits than int() takes
    ('{"bbox_2d": null, "label": "x"}', "null"),
    ('{"bbox_2d": [1, null, 30, 40], "label": "x"}', "not a number"),
    ('{"bbox_2d": [1, true, 30, 40], "label": "x"}', "not a number"),
    ('{"bbox_2d": [1, "two", 30, 40], "label": "x"}', "not a number"),
    ('{"bbox_2d": [1, [2], 30, 40], "label": "x"}', "not a number"),
    ('{"bbox_2d": [1, 2, 30], "label": "x"}', "3 numbers instead of 4"),
    ('{"bbox_2d": [1, 2, 30, 40, 50], "label": "x"}', "5 numbers instead of 4"),
    ('{"bbox_2d": [], "label": "x"}', "0 numbers instead of 4"),
    ('{"point_2d": [1, 2, 3], "label": "x"}', "3 numbers instead of 2"),
    ('{"bbox_2d": [10, 20, 10, 40], "label": "x"}', "no area"),
    ('{"bbox_2d": [10, 20, 30, 20], "label": "x"}', "no area"),
    ('{"bbox_2d": [2000, 20, 3000, 40], "label": "x"}', "outside"),
    ('{"bbox_2d": [-30, 20, -10, 40], "label": "x"}', "outside"),
    ('{"point_2d": [1001, 2], "label": "x"}', "outside"),
    ('{"bbox_2d": [1, 2, 30, 40], "bbox_2d": [5, 6, 7, 8], "label": "x"}', "twice"),  # which one is meant?
    ('{"label": "x"}', "without coordinates"),
    ('{"bbox_2d": ' + "[" * 5000 + "]" * 5000 + ', "label": "x"}', ""),  # deep nesting: some reason, no crash
    (
        '{"bbox_2d": [1, 2, 30, 40], "label": "x}',
        "no closing brace",
    ),  # quote lost: it swallows the brace, not the next item
    ('<points x1="7" alt="x">x</points>', "1 numbers instead of 2"),
    ('<points x1="seven" y1="8" alt="x">x</points>', "not a number"),
    ('<points alt="x">x</points>', "0 numbers"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_ITEMS)
def test_a_bad_item_costs_itself_only(bad: str, reason: str) -> None:
    parsed = parse(f"```json\n[\n\t{CAT},\n\t{bad},\n\t{DOG}\n]\n```")
    assert shown(parsed) == [IS_CAT, IS_DOG]
    assert len(parsed.rejects) == 1
    assert reason.lower() in parsed.rejects[0].reason.lower()
    assert parsed.rejects[0].text.startswith(bad[:20])
    assert parsed.text == ""


REFUSED = [
    (f"{START}(1,2),(30){END}", "3 numbers instead of 4"),
    (f"{START}(nan,2),(30,40){END}", "not finite"),
    (f"{START}{END}", "0 numbers"),
    ("<|quad_start|>(1,2),(30,2),(30,40),(1,40),(5)<|quad_end|>", "9 numbers instead of 6 or more"),
    (f"{START}(1,2),(3", "cut off"),
    ("2000,2000,3000,3000 cat", "outside"),
    ("{'bbox_2d': [nan, 2, 30, 40], 'label': 'x'}", "not finite"),  # Python's words
    ("{'bbox_2d': [-inf, 2, 30, 40], 'label': 'x'}", "not finite"),
    ('{"bbox_2d": ["inf", 2, 30, 40], "label": "x"}', "not finite"),
    ('{"bbox_2d": ["1_0", 2, 30, 40], "label": "x"}', "not a number"),  # what float() would take for 10
    ('{"bbox_2d": ["10px", 2, 30, 40], "label": "x"}', "not a number"),
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


# text cut off, complete objects, rejects
CUT_OFF = [
    (f"```json\n[\n\t{CAT},\n\t{DOG[:20]}", [IS_CAT], 1),  # in the coordinates
    (f"```json\n[\n\t{CAT},\n\t{DOG[:-3]}", [IS_CAT], 1),  # in the label
    (f"```json\n[\n\t{CAT},\n\t{DOG[:4]}", [IS_CAT], 1),  # in the key
    (f"```json\n[\n\t{CAT},\n\t{{", [IS_CAT], 0),  # a brace alone says nothing yet
    (f"```json\n[\n\t{CAT},\n", [IS_CAT], 0),  # between items
    (f'{{"objects": [{CAT}, {DOG[:20]}', [IS_CAT], 1),  # in a wrapper
    ('<points x1="7" y1="8" alt="ey', [], 1),  # in a tag
    ("1,2,30,40 cat\n5,6,7", [IS_CAT], 0),  # in a line
]


@pytest.mark.parametrize(("text", "objects", "rejects"), CUT_OFF)
def test_complete_items_of_a_cut_off_reply_are_kept(text: str, objects: Shown, rejects: int) -> None:
    parsed = parse(text)
    assert shown(parsed) == objects
    assert [reject.reason for reject in parsed.rejects] == ["cut off"] * rejects


def test_exact_repeats_are_cut_and_counted() -> None:
    # A small model that loops writes the same item until its tokens run out.
    parsed = parse("[" + ", ".join([CAT] * 50) + "]")
    assert shown(parsed) == [IS_CAT]
    assert len(parsed.rejects) == 49
    assert {reject.reason for reject in parsed.rejects} == {"exact repeat of an earlier object"}


def test_one_box_with_two_names_is_no_repeat() -> None:
    assert len(parse(f"[{CAT}, {CAT.replace('cat', 'pet')}]").objects) == 2


def test_extra_keys_become_attributes_as_text() -> None:
    extra = '"sub_label": "helmet", "id": 7, "ok": true, "c": {"r": [1]}, "n": null'
    item = f'{{"bbox_2d": [1, 2, 30, 40], "label": "a", {extra}}}'
    assert parse(item).objects[0].attributes == {"sub_label": "helmet", "id": "7", "ok": "true", "c": '{"r": [1]}'}


def test_spans_cut_the_objects_out_of_the_text() -> None:
    text = f'Look: [{CAT}, {DOG}]\n5,6,7,8 rat\n<points x1="1" y1="2" x2="3" y2="4">eye</points>'
    pieces = [text[slice(*found.span)] for found in parse(text).objects]
    assert pieces == [CAT, DOG, "5,6,7,8 rat", 'x1="1" y1="2"', 'x2="3" y2="4"']


def test_objects_come_in_the_order_of_the_text() -> None:
    parsed = parse(f"5,6,7,8 rat\n{CAT}\n<points x1='7' y1='8'>eye</points>\n{DOG}")
    assert [found.label for found in parsed.objects] == ["rat", "cat", "eye", "dog"]


FRAGMENTS = [
    CAT,
    DOG,
    *"{}[]\"',:\\\n 1猫",
    "```json",
    "<points x1=",
    ">",
    "</points>",
    "1,2,3,4 a",
    '"bbox_2d"',
    "NaN",
    "\ud800",
]


@given(st.text() | st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))
@settings(max_examples=300)
def test_no_text_raises_and_every_object_lies_in_the_image(text: str) -> None:
    parsed = parse_answer(text, model_wh=(644, 476), image_wh=(640, 480))
    for found in parsed.objects:
        assert found.xyxy or found.point_xy
        corners = [n for xy in (*found.polygon, *found.keypoints.values()) for n in xy]
        numbers = [*(found.xyxy or ()), *(found.point_xy or ()), *corners]
        assert all(0 <= x <= 640 for x in numbers[::2])
        assert all(0 <= y <= 480 for y in numbers[1::2])
        start, end = found.span
        assert 0 <= start < end <= len(text)
        found.label.encode("utf-8")


KEYS = ["bbox_2d", "label", "points", "x", "y", "polygon", "keypoints", "bbox_3d", "position", "cup", "rotate_rect"]
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


@given(json_values)
def test_any_json_between_good_items_leaves_them_alone(value: Any) -> None:
    text = f"[{CAT}, {json.dumps(value)}, {DOG}]"
    parsed = parse(text)
    labels = [found.label for found in parsed.objects]
    assert labels[0] == "cat"
    assert labels[-1] == "dog"
    reader = AnswerReader(model_wh=WH, image_wh=WH)
    for character in text:
        reader.feed(character)
    assert reader.finish() == parsed


numbers = st.integers(0, 999)
boxes = st.tuples(numbers, numbers, st.integers(1, 999), st.integers(1, 999)).map(
    lambda box: [box[0], box[1], min(1000, box[0] + box[2]), min(1000, box[1] + box[3])]
)
labels = st.text(max_size=12).filter(lambda label: label.isprintable() and label.strip())
items = st.fixed_dictionaries({"bbox_2d": boxes, "label": labels}) | st.fixed_dictionaries(
    {"point_2d": st.lists(numbers, min_size=2, max_size=2), "label": labels}, optional={"sub_label": labels}
)
# Two boxes of one name that nearly cover each other are a repetition.
lists = st.lists(items, max_size=6, unique_by=lambda item: item["label"])


def rendered(wanted: list[dict[str, Any]], form: str) -> str:
    written = [json.dumps(item, ensure_ascii=len(form) % 2 == 0) for item in wanted]
    return {
        "fenced": "```json\n[\n\t" + ",\n\t".join(written) + "\n]\n```",
        "bare": "[" + ", ".join(written) + "]",
        "loose": "\n".join(written),
        "wrapped": '{"objects": [' + ",".join(written) + "]}",
        "python": repr(wanted),
        "full-width": "［" + "，".join(written) + "］",
    }[form]


FORMS = st.sampled_from(["fenced", "bare", "loose", "wrapped", "full-width"])


@given(lists, FORMS | st.just("python"))
def test_rendered_objects_come_back(wanted: list[dict[str, Any]], form: str) -> None:
    parsed = parse(rendered(wanted, form))
    got = [(found.label, list(found.xyxy or found.point_xy or ()), found.attributes) for found in parsed.objects]
    assert got == [
        (item["label"], item.get("bbox_2d") or item["point_2d"], {k: v for k, v in item.items() if k == "sub_label"})
        for item in wanted
    ]
    assert parsed.rejects == ()
    assert parsed.text == ""


@given(lists, FORMS)
def test_what_is_read_in_one_go_is_read_the_same(wanted: list[dict[str, Any]], form: str) -> None:
    text = rendered(wanted, form)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_scanner, "CLEAN_ITEM", re.compile("(?!)"))
        slowly = parse(text)
    assert parse(text) == slowly


@given(lists, FORMS, st.data())
def test_any_cut_of_a_reply_yields_a_prefix_of_its_objects(
    wanted: list[dict[str, Any]], form: str, data: st.DataObject
) -> None:
    text = rendered(wanted, form)
    whole = parse(text).objects
    cut = text[: data.draw(st.integers(0, len(text)))]
    objects = parse(cut).objects
    assert objects == whole[: len(objects)]
    assert len(objects) == sum(found.span[1] <= len(cut) for found in whole)
