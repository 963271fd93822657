"""What was read in an image: spotted lines and documents, by whichever form the reply begins with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.texts import TextReader
from vlm_perception.types import DetectedObject, ParsedAnswer

SIZES: dict[str, Any] = {"model_wh": (1000, 1000), "image_wh": (1000, 1000)}
# Qwen's ocr cookbook.
SPOTTED = """```json
[
\t{"bbox_2d": [108, 175, 496, 230], "text_content": "AuntieAnne's"},
\t{"bbox_2d": [49, 429, 252, 450], "text_content": "CINNAMON SUGAR"}
]
```"""
BLOCK = '<p data-bbox="1 2 30 40">a</p>'

Read = tuple[str, str, str]


def read(text: str, targets: tuple[str, ...] = (), width: int = 10**6) -> tuple[list[DetectedObject], ParsedAnswer]:
    reader = TextReader(**SIZES, targets=targets)
    told = [found for at in range(0, len(text), width) for found in reader.feed(text[at : at + width])]
    assert reader.text == text
    return told, reader.finish()


def shown(parsed: ParsedAnswer) -> list[Read]:
    return [(found.label, found.kind, found.text) for found in parsed.objects]


BOX = '"bbox_2d": [1, 2, 30, 40]'
# reply, phrases asked for, what comes of it
REPLIES: list[tuple[str, tuple[str, ...], list[Read]]] = [
    (SPOTTED, (), [("text", "line", "AuntieAnne's"), ("text", "line", "CINNAMON SUGAR")]),
    (SPOTTED, ("the sign",), [("", "line", "AuntieAnne's"), ("", "line", "CINNAMON SUGAR")]),  # named by `name_objects`
    (SPOTTED, ("sign", "cart"), [("text", "line", "AuntieAnne's"), ("text", "line", "CINNAMON SUGAR")]),
    (f'[{{{BOX}, "label": "cart", "text_content": "A7"}}]', ("the cart",), [("cart", "line", "A7")]),
    (f'[{{{BOX}, "label": "A7"}}]', ("the cart",), [("", "line", "A7")]),  # the text under the other key
    (f'[{{{BOX}, "label": "the cart"}}]', ("cart",), [("the cart", "line", "")]),  # found and not read
    (f"[{{{BOX}}}]", ("cart",), [("", "line", "")]),
    (f'[{{{BOX}, "text": "A7"}}]', (), [("text", "line", "A7")]),
    ("1,2,30,40 A7\n", (), [("text", "line", "A7")]),  # any form of a thing will do
    (BLOCK, ("the cart",), [("paragraph", "paragraph", "a")]),  # lines were asked for, a document came
    (f"```html\n<html><body>{BLOCK}</body></html>```", (), [("paragraph", "paragraph", "a")]),
    (f'{{"html": 1}} {BLOCK}', (), [("p", "line", "a")]),  # the first sign chooses
    ("```json\n[]\n```", (), []),
    ("The sign says STOP.", ("the sign",), []),
    (
        f'hm {{{BOX}, "label": "x"}}</think>{BLOCK}',
        (),
        [("paragraph", "paragraph", "a")],
    ),  # what was thought chooses not
    (f"<p>hm {BLOCK}</think>{SPOTTED}", (), [("text", "line", "AuntieAnne's"), ("text", "line", "CINNAMON SUGAR")]),
]


@pytest.mark.parametrize(("reply", "targets", "expected"), REPLIES)
@pytest.mark.parametrize("width", [1, 10**6])
def test_replies(reply: str, targets: tuple[str, ...], expected: list[Read], width: int) -> None:
    _, parsed = read(reply, targets, width)
    assert shown(parsed) == expected


def test_prose_stays_prose() -> None:
    assert read("The sign says STOP.")[1].text == "The sign says STOP."


def test_the_text_speaks_for_itself_in_the_score() -> None:
    found = read(SPOTTED)[1].objects[0]
    assert found.evidence.label == ()
    assert [SPOTTED[slice(*span)] for span in found.evidence.text] == ["AuntieAnne's"]


@pytest.mark.parametrize(("reply", "last"), [(SPOTTED, "}"), (BLOCK * 2, "</p>")])
def test_a_text_is_told_as_soon_as_it_is_whole(reply: str, last: str) -> None:
    reader = TextReader(**SIZES)
    first = next(at for at, sign in enumerate(reply, start=1) if reader.feed(sign))
    assert first == reply.index(last) + len(last)
    assert reader.told == 1


PIECES = [
    "<p",
    " ",
    ">",
    "{",
    BLOCK,
    f'{{{BOX}, "text_content": "b"}}',
    "<html>",
    "</think>",
    "<think>",
    "a",
    "\n",
    "<",
    "1,2,30,40 c\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.integers(1, 9))
def test_chunks_change_nothing_and_nothing_told_is_taken_back(text: str, width: int) -> None:
    told, parsed = read(text, (), width)
    assert parsed == read(text)[1]
    if "</think>" not in text:
        assert tuple(told) == parsed.objects[: len(told)]
