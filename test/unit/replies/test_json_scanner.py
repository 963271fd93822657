"""The scanner finds the same objects however the reply arrives."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from vlm_perception.replies.json_scanner import JsonScanner, Segment
from vlm_perception.replies.lenient_json import plain

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


def scan(*chunks: str) -> list[Segment]:
    scanner = JsonScanner()
    found = [piece for chunk in chunks for piece in scanner.feed(chunk)]
    return objects(found + scanner.finish())


def objects(found: list[Segment]) -> list[Segment]:
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
    scanner = JsonScanner()
    assert objects(scanner.feed("```json\n[\n\t" + CAT[:-1])) == []
    (found,) = scanner.feed("}")
    assert (found.kind, found.span) == ("item", (11, 11 + len(CAT)))
    assert found.candidate is not None
    assert (found.candidate.value, found.candidate.label) == ([1, 2, 30, 40], "cat")
    assert scanner.feed(",\n\t") == []


def test_each_object_is_judged_without_its_children() -> None:
    inner = '{"point_2d": [5, 6], "label": "wheel"}'
    found = scan(f'{{"label": "cart", "bbox_2d": [1, 2, 3, 4], "parts": [{inner}]}}')
    assert [piece.values["label"].value for piece in found] == ["wheel", "cart"]
    assert plain(found[1].values["parts"]) == [None]
