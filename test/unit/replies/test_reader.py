"""Replies to objects and rejects: a row per form, with what makes it worth a row."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_perception.errors import GeometryError
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import ParsedAnswer

WH = (1000, 1000)
CAT = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
DOG = '{"bbox_2d": [5, 6, 70, 80], "label": "dog"}'
IS_CAT = ("cat", (1.0, 2.0, 30.0, 40.0))
IS_DOG = ("dog", (5.0, 6.0, 70.0, 80.0))


def parse(text: str) -> ParsedAnswer:
    return parse_answer(text, model_wh=WH, image_wh=WH)


def shown(parsed: ParsedAnswer) -> list[tuple[str, tuple[float, ...]]]:
    return [(found.label, found.xyxy or found.point_xy or ()) for found in parsed.objects]


# text, objects, prose
ACCEPTED: list[tuple[str, list[tuple[str, tuple[float, ...]]], str]] = [
    (f"```json\n[\n\t{CAT},\n\t{DOG}\n]\n```", [IS_CAT, IS_DOG], ""),  # the form Qwen was trained for, tabs
    (f"```json\n[\n    {CAT}\n]\n```", [IS_CAT], ""),  # with spaces
    (f"[{CAT}, {DOG}]", [IS_CAT, IS_DOG], ""),  # bare list
    (CAT, [IS_CAT], ""),  # lone object
    (f"{CAT}\n{DOG}", [IS_CAT, IS_DOG], ""),  # several objects without a list
    (f"[{CAT}]\n[{DOG}]", [IS_CAT, IS_DOG], ""),  # several lists
    (f"[[{CAT}], [{DOG}]]", [IS_CAT, IS_DOG], ""),  # lists of lists
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
    ('{"point_2d": [7, 8], "label": "eye"}', [("eye", (7.0, 8.0))], ""),
    ('{"point": [7, 8], "label": "eye"}', [("eye", (7.0, 8.0))], ""),
    ('{"points": [[7, 8], [9, 10]], "label": "eye"}', [("eye", (7.0, 8.0)), ("eye", (9.0, 10.0))], ""),
    ('{"bbox_2d": [[1, 2, 30, 40], [5, 6, 70, 80]], "label": "a"}', [("a", IS_CAT[1]), ("a", IS_DOG[1])], ""),
    ('{"bbox_2d": [[1, 2], [30, 40]], "label": "cat"}', [IS_CAT], ""),  # two corners
    ('{"bbox_2d": [1, 2, 30, 40], "point_2d": [7, 8], "label": "a"}', [("a", IS_CAT[1]), ("a", (7.0, 8.0))], ""),
    ('<points x1="7" y1="8" alt="eye">eye</points>', [("eye", (7.0, 8.0))], ""),  # Qwen's point tag
    ('<points x1="7" y1="8" x2="9" y2="10" alt="eye">eye</points>', [("eye", (7.0, 8.0)), ("eye", (9.0, 10.0))], ""),
    ('<point x="7" y="8" alt="eye">eye</point>', [("eye", (7.0, 8.0))], ""),
    ('<points x1="7" y1="8" alt="eye">ey', [("eye", (7.0, 8.0))], "ey"),  # cut in the name: alt has it
    ("Eyes: <points x1='7' y1='8'>eye</points>.", [("eye", (7.0, 8.0))], "Eyes:"),  # single quotes, no alt
    ("1,2,30,40 cat\n5, 6, 70, 80 dog", [IS_CAT, IS_DOG], ""),  # plain lines
    ("- [1, 2, 30, 40]: cat", [IS_CAT], ""),  # a list item that names its box
    ("The cat is at [1, 2, 30, 40] now.", [("", IS_CAT[1])], "The cat is at now."),  # a box in a sentence
    ("[\n[1, 2, 30, 40],\n[5, 6, 70, 80]\n]", [("", IS_CAT[1]), ("", IS_DOG[1])], ""),  # lists of numbers only
    ("[1, 2, 30, 40], [5, 6, 70, 80]", [("", IS_CAT[1]), ("", IS_DOG[1])], ""),
    ('{"bbox_2d": [1, 2, 30, 40], "label": "the "big" cat"}', [('the "big" cat', IS_CAT[1])], ""),  # bare quotes
    ("[{'bbox_2d': [1, 2, 30, 40], 'label': 'cat'}]", [IS_CAT], ""),  # Python's quotes
    ("{'bbox_2d': [1, 2, 30, 40], 'label': 'cat\\'s'}", [("cat's", IS_CAT[1])], ""),
    ('{"bbox_2d": [1, 2, 30, 40,], "label": "cat",},', [IS_CAT], ""),  # trailing commas
    ('{"bbox_2d": ["1", "2", "30", "40"], "label": "cat"}', [IS_CAT], ""),  # numbers as strings
    ('{"bbox_2d": [30, 40, 1, 2], "label": "cat"}', [IS_CAT], ""),  # swapped corners: the same rectangle
    ('{"bbox_2d": [1, 40, 30, 2], "label": "cat"}', [IS_CAT], ""),  # the other diagonal
    ('{"bbox_2d": [1, 2, 30, 40], "label": "a } b { c ] d"}', [("a } b { c ] d", IS_CAT[1])], ""),  # signs in a label
    ('{"bbox_2d": [1, 2, 30, 40], "label": "C:\\dir"}', [("C:\\dir", IS_CAT[1])], ""),  # a backslash nobody doubled
    ('{"bbox_2d": [1, 2, 30, 40], "label": "红色的圆"}', [("红色的圆", IS_CAT[1])], ""),  # labels in any language
    (
        '{"bbox_2d": [1, 2, 30, 40], "label": "\\ud800x"}',
        [("?x", IS_CAT[1])],
        "",
    ),  # half a character: no message holds it
    ('{"bbox_2d": [1, 2, 30, 40], "label": "a\\u0000b"}', [("a b", IS_CAT[1])], ""),  # NUL ends a C string
    ('{"bbox_2d": [1, 2, 30, 40]}', [("", IS_CAT[1])], ""),  # no label: the caller knows what was asked
    (
        '{"bbox_2d": [-50, -9, 30, 40], "label": "cat"}',
        [("cat", (0.0, 0.0, 30.0, 40.0))],
        "",
    ),  # partly outside: clipped
    ('{"bbox_2d": [900, 900, 1200, 1100], "label": "cat"}', [("cat", (900.0, 900.0, 1000.0, 1000.0))], ""),
    ('{"point_2d": [1000, 0], "label": "corner"}', [("corner", (1000.0, 0.0))], ""),  # on the edge
    ("```json\n[]\n```", [], ""),  # nothing found
    ("[]", [], ""),
    ('{"objects": []}', [], ""),  # nothing found, wrapped
    ("```json\n[]\n```\nThere is no cat.", [], "There is no cat."),
    ("A red cart stands left of a face.", [], "A red cart stands left of a face."),  # text-only answers are answers
    ('{"answer": "two"}', [], '{"answer": "two"}'),  # JSON that is no list of objects stays text
    ("", [], ""),
    ("1,2,3,4,5,6 are numbers", [], "1,2,3,4,5,6 are numbers"),  # six numbers are no box
    (
        f'[{{"label": "cart", "bbox_2d": [1, 2, 30, 40], "parts": [{DOG}]}}]',
        [IS_DOG, ("cart", IS_CAT[1])],
        "",
    ),  # nested: the inner one is complete first
]


@pytest.mark.parametrize(("text", "objects", "prose"), ACCEPTED)
def test_accepted_forms(text: str, objects: list[tuple[str, tuple[float, ...]]], prose: str) -> None:
    parsed = parse(text)
    assert shown(parsed) == objects
    assert parsed.rejects == ()
    assert parsed.text == prose


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
def test_complete_items_of_a_cut_off_reply_are_kept(
    text: str, objects: list[tuple[str, tuple[float, ...]]], rejects: int
) -> None:
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


def test_absolute_coordinates_scale_per_axis() -> None:
    parsed = parse_answer(CAT, model_wh=(100, 400), image_wh=(1000, 200))
    assert parsed.objects[0].xyxy == (10.0, 1.0, 300.0, 20.0)


def test_small_coordinates_are_not_taken_for_relative_ones() -> None:
    # Guessing "all values below 1000 are normalised" is a known bug of peers.
    assert parse_answer(CAT, model_wh=(644, 476), image_wh=(644, 476)).objects[0].xyxy == IS_CAT[1]


def test_relative_coordinates_scale_from_a_thousand() -> None:
    parsed = parse_answer(CAT, model_wh=(644, 476), image_wh=(2000, 500), coordinates="relative_1000")
    assert parsed.objects[0].xyxy == (2.0, 1.0, 60.0, 20.0)


def test_sizes_are_checked() -> None:
    with pytest.raises(GeometryError):
        parse_answer(CAT, model_wh=(0, 476), image_wh=(644, 476))


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
        assert (found.xyxy is None) != (found.point_xy is None)
        numbers = found.xyxy or found.point_xy or ()
        assert all(0 <= x <= 640 for x in numbers[::2])
        assert all(0 <= y <= 480 for y in numbers[1::2])
        start, end = found.span
        assert 0 <= start < end <= len(text)
        found.label.encode("utf-8")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["bbox_2d", "label", "points", "x"]), inner)
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_between_good_items_leaves_them_alone(value: Any) -> None:
    labels = [found.label for found in parse(f"[{CAT}, {json.dumps(value)}, {DOG}]").objects]
    assert labels[0] == "cat"
    assert labels[-1] == "dog"


numbers = st.integers(0, 999)
boxes = st.tuples(numbers, numbers, st.integers(1, 999), st.integers(1, 999)).map(
    lambda box: [box[0], box[1], min(1000, box[0] + box[2]), min(1000, box[1] + box[3])]
)
labels = st.text(max_size=12).filter(lambda label: label.isprintable() and label.strip())
items = st.fixed_dictionaries({"bbox_2d": boxes, "label": labels}) | st.fixed_dictionaries(
    {"point_2d": st.lists(numbers, min_size=2, max_size=2), "label": labels}, optional={"sub_label": labels}
)
lists = st.lists(items, max_size=6, unique_by=lambda item: json.dumps(item, sort_keys=True))


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
]


@pytest.mark.parametrize("shape", SLOW_SHAPES)
def test_time_is_linear(shape: str) -> None:
    """Counts executed lines instead of seconds: eight times the text, at most ten times the lines."""
    short, long = _lines_run(shape * 200), _lines_run(shape * 1600)
    assert long < 10 * short + 1000


def _lines_run(text: str) -> int:
    count = 0

    def trace(frame: object, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse(text)
    finally:
        sys.settrace(before)
    return count
