"""What two phrases have to do with each other; more of them in replies/test_labels.py, which is built on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.prompts.words import is_a, name_key, same_name

# One, other, the same name?, is the first one of the second?
PHRASES = [
    ("cup", "The Cups", True, True),
    ("door handles", "a door handle", True, True),
    ("ｃｕｐ", "CUP", True, True),
    ("red_cup", "red cup", True, True),
    ("red cup", "cup", False, True),
    ("cup", "red cup", False, False),
    ("blue cup", "red cup", False, False),
    ("cup holder", "cup", False, False),
    ("cup on the table", "cup", False, True),
    ("cup on the table", "table", False, False),
    ("cup on the table", "table on the cup", False, False),
    ("红色杯子", "杯子", False, True),
    ("杯子架", "杯子", False, False),
    ("红色的杯子", "红色杯子", True, True),
    # What has no words is compared as it stands.
    ("🍎", "🍎", True, True),
    ("🍎", "🍐", False, False),
    ("", "", False, False),
    ("the", "cup", False, False),
    ("cup", "the", False, False),
]


@pytest.mark.parametrize(("one", "other", "same", "is_one"), PHRASES)
def test_phrases_are_compared_by_what_they_name(one: str, other: str, same: bool, is_one: bool) -> None:
    assert (same_name(one, other), same_name(other, one)) == (same, same)
    assert is_a(one, other) == is_one


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_two_texts_can_be_compared(one: str, other: str) -> None:
    assert same_name(one, other) == same_name(other, one)
    assert is_a(one, other) or not same_name(one, other)
    assert same_name(one, other) == (name_key(one) == name_key(other) != "")
