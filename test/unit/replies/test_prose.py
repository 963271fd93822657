"""The number a counting answer gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.prose import count_of
from vlm_perception.types import DetectedObject

# prose, objects listed, number
COUNTS: list[tuple[str, int, int | None]] = [
    ("There are 3 circles.", 3, 3),
    ("There are three circles.", 0, 3),
    ("There is one cat.", 1, 1),
    ("Twenty-three owls", 0, 23),
    ("There are no cats.", 0, 0),
    ("None.", 0, 0),
    ("zero", 0, 0),
    ("a dozen eggs", 0, 12),
    ("3 red and 2 green apples, 5 in total.", 0, 5),  # the total wins over its parts
    ("A total of 6 eyes: each of the three owls has two.", 3, 6),  # the total wins over the list, too
    ("Each of the 3 owls has 2 eyes, so there are 6.", 6, 6),  # the number that agrees with the list
    ("2 of the 7 are red", 0, 2),  # nothing to agree with: the first
    ("count: 4", 4, 4),  # said by a wrapper
    ("1. red cart\n2. blue cart\nSo there are 2 carts.", 0, 2),  # list markers are no counts
    ("The 1st and the 2nd are red.", 0, None),  # nor are ordinals
    ("It is 2.5 m away.", 0, None),  # nor decimals
    ("50% sure", 0, None),
    ("x1 and y2", 0, None),  # nor parts of names
    ("图中一共有三个红色的圆。", 3, 3),  # 一共 is "in all", not one
    ("共有12个", 0, 12),
    ("有两只猫", 0, 2),
    ("十二个", 0, 12),
    ("二十三只", 0, 23),
    ("一百零五个", 0, 105),
    ("没有", 0, 0),
    ("第一个是红色的", 0, None),  # the first one is red
    ("A red cart.", 1, None),
    ("", 0, None),
]


@pytest.mark.parametrize(("text", "listed", "number"), COUNTS)
def test_counts(text: str, listed: int, number: int | None) -> None:
    objects = [DetectedObject(f"o{i}", (0, 0, 1, 1), None) for i in range(listed)]
    assert count_of(text, objects) == number


@given(st.text() | st.text(alphabet="一二三十百共计total 0123456789.,-\nfivetwenty"))
def test_no_text_raises(text: str) -> None:
    number = count_of(text, ())
    assert number is None or number >= 0
