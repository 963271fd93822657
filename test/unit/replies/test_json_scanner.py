"""The scanner finds the same objects however the reply arrives."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from vlm_perception.replies.json_scanner import Found, ReplyScanner

CAT = '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
PIECES = [
    CAT,
    "{",
    "}",
    '"',
    "'",
    ":",
    ",",
    "\\",
    "\n",
    " ",
    "a",
    '{"bbox_2d": [1], "label": "x',
    '"bbox_2d"',
    '"label"',
    "```",
]


def scan(*chunks: str) -> list[Found]:
    scanner = ReplyScanner()
    found = [piece for chunk in chunks for piece in scanner.feed(chunk)]
    return objects(found + scanner.finish())


def objects(found: list[Found]) -> list[Found]:
    return [piece for piece in found if piece.kind != "text"]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join), st.lists(st.integers(1, 7), min_size=1))
@example(f'[{{"bbox_2d": [1, 2, 3, 4], "label": "lost}}, {CAT}]', [1])
def test_chunks_do_not_change_what_is_found(text: str, sizes: list[int]) -> None:
    chunks, at, turn = [], 0, 0
    while at < len(text):
        chunks.append(text[at : at + sizes[turn % len(sizes)]])
        at += len(chunks[-1])
        turn += 1
    assert scan(*chunks) == scan(text)


def test_an_object_is_reported_with_its_closing_brace() -> None:
    scanner = ReplyScanner()
    assert objects(scanner.feed("```json\n[\n\t" + CAT[:-1])) == []
    (found,) = scanner.feed("}")
    assert (found.kind, found.start, found.end) == ("item", 11, 11 + len(CAT))
    assert found.values == {"bbox_2d": [1, 2, 30, 40], "label": "cat"}
    assert scanner.feed(",\n\t") == []


def test_each_object_is_judged_without_its_children() -> None:
    inner = '{"point_2d": [5, 6], "label": "wheel"}'
    found = scan(f'{{"label": "cart", "bbox_2d": [1, 2, 3, 4], "parts": [{inner}]}}')
    assert [piece.values["label"] for piece in found] == ["wheel", "cart"]
    assert found[1].values["parts"] == [None]
