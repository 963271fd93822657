"""A loop is told early, and no honest reply is taken for one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.repetition import RepetitionWatch

CAT = '\t{"bbox_2d": [10, 20, 130, 140], "label": "cat"},\n'


def told_at(text: str, width: int = 3) -> int | None:
    """Return after how many characters the loop was certain."""
    watch = RepetitionWatch()
    for at in range(0, len(text), width):
        if watch.feed(text[at : at + width]):
            return at + width
    return None


def items(boxes: list[tuple[int, int, int, int]], label: str = "red cart") -> str:
    return "```json\n[\n" + "".join(f'\t{{"bbox_2d": {list(box)}, "label": "{label}"}},\n' for box in boxes) + "]\n```"


def marching(count: int, name: str, step: tuple[int, int] = (30, 0)) -> str:
    boxes = [(10 + i * step[0], 20 + i * step[1], 35 + i * step[0], 60 + i * step[1]) for i in range(count)]
    written = [f'{{"bbox_2d": {list(box)}, "label": "{name.format(i)}"}}' for i, box in enumerate(boxes)]
    return "[\n\t" + ",\n\t".join(written) + "\n]"


# text, characters after which it has to be told at the latest
LOOPS = [
    ("[" + CAT * 50, 5 * len(CAT) + 32),  # one item again and again
    ("[" + (CAT + CAT.replace("cat", "dog").replace("20", "77")) * 30, 9 * len(CAT) + 32),  # two in turn
    (items([(i, 2, i + 90, 80) for i in range(20)]) + CAT * 50, 20 * 60 + 5 * len(CAT) + 64),  # after a good list
    ("1,2,30,40 cat\n" * 60, 128),
    ("[1, 2, 3, 4], " * 60, 128),
    ("The cat sits on the mat. " * 40, 160),  # a sentence
    ("red " * 200, 160),  # a word
    ("0" * 400, 160),  # a digit
    ("有一只猫。" * 60, 160),
    ("\n" * 2000, 600),  # nothing at all
    (marching(40, "car {}"), 15 * 60),  # counts on, each box a step further
    (marching(40, "car {}", step=(0, 7)), 15 * 60),
    (marching(40, "car #{}", step=(0, 0)), 15 * 60),  # in the same place
    (marching(40, "car {}").replace(", ", ",\n    "), 15 * 80),  # laid out over lines
    (marching(60, "car"), 35 * 60),  # of one name, for longer than any row
    ("".join(f"{20 * i},5,{20 * i + 18},60 car {i}\n" for i in range(40)), 15 * 24),
    (items([(5, 2, 90, 80)]) + marching(40, "seat {}"), 17 * 60),  # after something else
]


@pytest.mark.parametrize(("text", "latest"), LOOPS)
def test_loops_are_told(text: str, latest: int) -> None:
    at = told_at(text)
    assert at is not None
    assert at <= latest


GRID = [(x, y, x + 20, y + 20) for y in range(0, 400, 25) for x in range(0, 400, 25)]
WORDS = ["the", "a", "cat", "dog", "sits", "runs", "on", "under", "red", "blue", "mat", "table", "and", "then", "near"]
HONEST = [
    "<table>" + "<tr><td></td><td></td></tr>" * 15 + "</table>",  # a form that nobody filled in
    "<table>" + "<tr>\n<td></td>\n<td></td>\n</tr>\n" * 12 + "</table>",
    items([(20 * i, 5, 20 * i + 18, 60) for i in range(30)]),  # thirty alike in a row
    items(GRID),  # a grid
    items([(10, 10, 20, 20 + i) for i in range(100)]),  # growing by a pixel
    marching(13, "car {}"),  # a row of numbered things
    marching(33, "car"),
    items([(30 * i, 5, 30 * i + 20, 60 + i % 2) for i in range(40)], "car 1"),  # a step, but not one size
    "".join(f"{i}. cat\n" for i in range(200)),  # no boxes
    items([(10, 20, 130, 140)] * 3),  # three times the same is not yet certain
    "".join(f"{x},{y},{x2},{y2} cup\n" for x, y, x2, y2 in GRID),
    "<points " + " ".join(f'x{i}="{7 * i}" y{i}="100"' for i in range(1, 60)) + ' alt="eye">eye</points>',
    " ".join(random.Random(5).choices(WORDS, k=3000)),  # long prose of few words
    "| a | b |\n|" + "---|" * 40 + "\n",  # rules of tables
    "-" * 120 + "\n" + "=" * 120,
    "ha ha ha ha ha ha, no no no no no",
    "1. cat\n2. cat\n3. cat\n4. cat\n5. cat\n6. cat\n7. cat\n8. cat\n9. cat\n",
    "[\n" + " " * 200 + "{}",
]


@pytest.mark.parametrize("text", HONEST)
def test_honest_replies_are_left_alone(text: str) -> None:
    assert told_at(text) is None


@given(st.lists(st.sampled_from([CAT, "a", "[", " ", CAT[:20]]), max_size=60), st.lists(st.integers(1, 50), min_size=1))
def test_chunks_change_nothing_and_certain_stays_certain(parts: list[str], widths: list[int]) -> None:
    text = "".join(parts)
    whole, watch = RepetitionWatch(), RepetitionWatch()
    at = turn = 0
    certain = False
    while at < len(text):
        width = widths[turn % len(widths)]
        now = watch.feed(text[at : at + width])
        assert now or not certain
        certain, at, turn = now, at + width, turn + 1
    assert whole.feed(text) == certain


@given(st.text(min_size=1, max_size=40).filter(lambda unit: any(map(str.isalnum, unit))))
def test_any_unit_is_told_within_a_few_repeats(unit: str) -> None:
    assert told_at(unit * (4 + 200 // len(unit))) is not None
