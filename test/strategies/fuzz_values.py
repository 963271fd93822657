"""Parameter values of every type that ROS has, under right, nearly right and any names; replies of a model."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from vlm_perception.settings import parameters

_NAMES = tuple(parameter.name for parameter in parameters())
_NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.sampled_from([0, 1, -1, 5.0, 1e308, 3136, 12_845_056])
_CHOICES = tuple(choice for parameter in parameters() for choice in parameter.choices)
_ONE = st.booleans() | _NUMBERS | st.text(max_size=20) | st.sampled_from(_CHOICES)
# What `rcl_interfaces/ParameterValue` can hold, and None for a parameter that is not set.
VALUES: st.SearchStrategy[Any] = (
    st.none()
    | _ONE
    | st.binary(max_size=8).map(lambda data: [bytes([number]) for number in data])
    | st.lists(st.booleans(), max_size=4)
    | st.lists(_NUMBERS, max_size=4)
    | st.lists(st.text(max_size=8), max_size=4)
)
MAPPINGS = st.dictionaries(
    st.sampled_from(_NAMES) | st.sampled_from(_NAMES).map(lambda name: name[:-1]) | st.text(max_size=12),
    VALUES,
    max_size=8,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["bbox_2d", "point_2d", "label", "sub_label", "points", "count", "x", "y"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_FRAGMENTS = (
    *"{}[]\"',:\\\n\t 0123456789.-eE猫<>()|/*;`",
    *("```json\n", "```", "NaN", "Infinity", "-1e999", "9" * 400, "null", "true", "\0", "\x1b", "\ud800", "\u202e"),
    *(
        '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}',
        '{"point_2d": [5, 6], "label": "猫"}',
        '"label": "',
        '"bbox_2d": [',
    ),
    *("<points x1='3' y1='4'", " x2=", "</points>", "<|box_start|>(1,2),(13,14)<|box_end|>", "<|object_ref_start|>"),
    *("1,2,30,40 cat\n", "cat(1,2),(3,4)", "[" * 200, "]" * 200, '{"a":' * 200, "There are 3 cups."),
    *(
        '"text_content": "',
        '<p data-bbox="1 2 30 40">',
        "</p>",
        "<div class='\x1b' data-bbox='5,6,7,8'>",
        "<table>",
        "<td>",
        "<![",
    ),
    *("<!--", "-->", "&#x1b;", "&", "<style>", "<b", "<li>" * 200),
)
# Binary noise comes out of a model as text with replacement characters.
REPLIES = (
    st.lists(st.sampled_from(_FRAGMENTS), max_size=60).map("".join)
    | _JSON.map(json.dumps)
    | st.text(max_size=300)
    | st.binary(max_size=300).map(lambda data: data.decode("utf-8", "replace"))
)
