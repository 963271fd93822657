"""Every form of a reply, and what of it speaks for each object."""

from __future__ import annotations

# What the form looks like; text; per object its numbers, its label, its beginning.
EVIDENCE_FORMS: list[tuple[str, str, list[tuple[str, str, str]]]] = [
    ("json", '{"bbox_2d": [1, 22, 3.5, 4], "label": "car 7", "id": 9}', [("1 22 3.5 4", "car 7", '{"bbox_2d": [')]),
    ("label first", '{"label": "car 7", "bbox_2d": [1, 2, 3, 4]}', [("1 2 3 4", "car 7", '{"label": "')]),
    (
        "fenced list",
        '```json\n[\n\t{"bbox_2d": [1, 2, 3, 4], "label": "a"},\n\t{"bbox_2d": [5, 6, 7, 8], "label": "b"}\n]\n```',
        [("1 2 3 4", "a", '[\n\t{"bbox_2d": ['), ("5 6 7 8", "b", ',\n\t{"bbox_2d": [')],
    ),
    ("after prose", 'I see [2] cups: {"bbox_2d": [1, 2, 3, 4]}', [("1 2 3 4", "", '{"bbox_2d": [')]),
    (
        "one a line",
        '{"box": [1,2,3,4]}\n{"box": [5,6,7,8]}',
        [("1 2 3 4", "", '{"box": ['), ("5 6 7 8", "", '\n{"box": [')],
    ),
    (
        "several boxes, one label",
        '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": "cup"}',
        [("1 2 3 4", "cup", '{"bbox_2d": [['), ("5 6 7 8", "cup", "], [")],
    ),
    (
        "the second of three boxes is refused",
        '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 5, 8], [9, 10, 11, 12]], "label": "cup"}',
        [("1 2 3 4", "cup", '{"bbox_2d": [['), ("9 10 11 12", "cup", "], [")],
    ),
    (
        "as many labels as boxes",
        '{"bbox_2d": [[1, 2, 3, 4], [5, 6, 7, 8]], "label": ["a1", "b2"]}',
        [("1 2 3 4", "a1", '{"bbox_2d": [['), ("5 6 7 8", "b2", "], [")],
    ),
    ("corners as pairs", '{"bbox_2d": [[1, 2], [3, 4]], "label": "a"}', [("1 2 3 4", "a", '{"bbox_2d": [[')]),
    (
        "several points",
        '{"points": [[1, 2], [3, 4]], "label": "w"}',
        [("1 2", "w", '{"points": [['), ("3 4", "w", "], [")],
    ),
    ("keys that hold digits", '{"x1": 1, "y1": 2, "x2": 3, "y2": 4, "label": "c"}', [("1 2 3 4", "c", '{"x1": ')]),
    ("strings", '{"bbox_2d": ["1", "2", "3", "4"], "label": "c"}', [("1 2 3 4", "c", '{"bbox_2d": ["')]),
    (
        "quotes inside",
        '{"bbox_2d": [1, 2, 3, 4], "label": "the "big" car"}',
        [("1 2 3 4", 'the "big" car', '{"bbox_2d": [')],
    ),
    ("full-width signs", "{“bbox_2d”：[1，2，3，4]，“label”：“杯7”}", [("1 2 3 4", "杯7", "{“bbox_2d”：[")]),
    (
        "nested",
        '{"label": "cart", "bbox_2d": [1, 2, 3, 4], "parts": [{"point_2d": [5, 6], "label": "wheel 9"}]}',
        [("1 2 3 4", "cart", '{"label": "'), ("5 6", "wheel 9", '[{"point_2d": [')],
    ),
    ("tag", '<point x="11" y="12" alt="eye 5">eye 5</point>', [("11 12", "eye 5", '<point x="')]),
    (
        "tag with two points",
        'The wheels: <points x1="11" y1="12" x2="21" y2="22" alt="wheel 5">wheel 5</points>',
        [("11 12", "wheel 5", '<points x1="'), ("21 22", "wheel 5", '" x2="')],
    ),
    ("lines", "1,2,3,4 car 7\n5,6,7,8 cup", [("1 2 3 4", "car 7", ""), ("5 6 7 8", "cup", "\n")]),
    ("bare", "It is at [1, 2, 3, 4].", [("1 2 3 4", "", "[")]),
    ("name and pairs", "car 7(1,2),(3,4)", [("1 2 3 4", "car 7", "")]),
    (
        "grounding tokens",
        "<|object_ref_start|>car 7<|object_ref_end|>"
        "<|box_start|>(1,2),(3,4)<|box_end|><|box_start|>(5,6),(7,8)<|box_end|>",
        [("1 2 3 4", "car 7", "<|object_ref_start|>"), ("5 6 7 8", "car 7", "<|box_start|>(")],
    ),
    ("name after its box", "<box>(1,2),(3,4)</box><ref>car 7</ref>", [("1 2 3 4", "car 7", "<box>(")]),
    ("boxes in one tag", "<box>1,2,3,4;5,6,7,8</box>", [("1 2 3 4", "", "<box>"), ("5 6 7 8", "", ";")]),
    ("numbers in a tag", "<point>7 8</point>", [("7 8", "", "<point>")]),
    ("no quotes", "{bbox_2d: (1, 2, 3, 4), label: red cup}", [("1 2 3 4", "red cup", "{bbox_2d: (")]),
    (
        "comments",
        '{"label": "cup" // 9\n "bbox_2d": [1, /* "5" */ 2, 3, 4]}',
        [("1 2 3 4", "cup", '{"label": "')],
    ),
    (
        "children first",
        '{"parts": [{"point_2d": [5, 6]}], "bbox_2d": [1, 2, 3, 4]}',
        [("1 2 3 4", "", '{"parts": ['), ("5 6", "", '[{"point_2d": [')],
    ),
]
