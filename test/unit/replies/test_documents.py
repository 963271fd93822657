"""Documents in Qwen's HTML: replies as models write them, cut off anywhere, and broken in every way."""

from __future__ import annotations

from html import escape
from typing import Any

import pytest
from executed_lines import executed_lines
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlm_perception.replies.documents import DocumentReader
from vlm_perception.types import XYXY, CoordinateFrame, DetectedObject, ParsedAnswer

SIZES: dict[str, Any] = {"model_wh": (1000, 1000), "image_wh": (1000, 1000)}
A, B, C = "1 2 30 40", "5 6 70 80", "100 200 300 400"
AT_A, AT_B, AT_C = (1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 70.0, 80.0), (100.0, 200.0, 300.0, 400.0)

Block = tuple[str, str, XYXY]


def read(text: str, sizes: list[int] | None = None, **more: Any) -> tuple[list[DetectedObject], ParsedAnswer]:
    reader = DocumentReader(**SIZES | more)
    told: list[DetectedObject] = []
    at = turn = 0
    while at < len(text):
        width = sizes[turn % len(sizes)] if sizes else len(text)
        told += reader.feed(text[at : at + width])
        at, turn = at + width, turn + 1
    assert reader.text == text
    return told, reader.finish()


def shown(parsed: ParsedAnswer) -> list[Block]:
    assert all(found.label == found.kind for found in parsed.objects)
    return [(found.kind, found.text, found.xyxy or AT_A) for found in parsed.objects]


# The form of the technical report, with each of its elements.
REPORT = """```html
<html><body>
<h2 data-bbox="103 94 235 128"> Delivery note &amp; invoice</h2>
<p data-bbox="10 130 400 150">12 bolts M8,<br/>galvanised</p>
<style>table1 { color: red; } p > q</style><table data-bbox="10 200 500 400" class="table1">
<thead><tr><th>Part</th><th>Number</th></tr></thead>
<tbody><tr><td>Bolt <b>M8</b></td><td><p>12</p></td></tr><tr><td></td><td>0</td></tr></tbody></table>
<div class="chart" data-bbox="10 410 300 500"> <img data-bbox="10 410 300 500" /><table><tr><td>2024</td><td>7</td></tr>
</table></div>
<div class="formula" data-bbox="10 510 300 540"> <img data-bbox="10 510 300 540" /> <div>E = mc^2</div></div>
<div class="image caption" data-bbox="10 550 300 700"><img data-bbox="10 550 300 690"/><p>Figure 1</p></div>
<div class="music sheet" format="abc notation" data-bbox="10 710 300 750"><img data-bbox="10 710 300 750"/> <div>
X:1
K:C</div></div>
<ol data-bbox="10 760 300 850"><li data-bbox="10 760 300 800">First</li><li data-bbox="10 810 300 850">Second</li></ol>
<div class="footer" data-bbox="10 900 300 950">Page 1</div>
</body></html>
```"""
OF_REPORT: list[Block] = [
    ("heading", "Delivery note & invoice", (103.0, 94.0, 235.0, 128.0)),
    ("paragraph", "12 bolts M8,\ngalvanised", (10.0, 130.0, 400.0, 150.0)),
    ("table", "Part | Number\nBolt M8 | 12\n | 0", (10.0, 200.0, 500.0, 400.0)),
    ("chart", "2024 | 7", (10.0, 410.0, 300.0, 500.0)),
    ("formula", "E = mc^2", (10.0, 510.0, 300.0, 540.0)),
    ("image", "", (10.0, 550.0, 300.0, 690.0)),  # its box is another than that of what is around it
    ("image_caption", "Figure 1", (10.0, 550.0, 300.0, 700.0)),
    ("music_sheet", "X:1\nK:C", (10.0, 710.0, 300.0, 750.0)),
    ("list_item", "First", (10.0, 760.0, 300.0, 800.0)),
    ("list_item", "Second", (10.0, 810.0, 300.0, 850.0)),
    ("list", "", (10.0, 760.0, 300.0, 850.0)),  # its items have the words
    ("footer", "Page 1", (10.0, 900.0, 300.0, 950.0)),
]


def test_every_element_of_the_report_is_read() -> None:
    _, parsed = read(REPORT)
    assert shown(parsed) == OF_REPORT
    assert (parsed.rejects, parsed.text, parsed.remarks) == ((), "", ())
    assert parsed.objects[0].attributes == {"level": "2"}
    assert parsed.objects[5].span[0] > parsed.objects[6].span[0], "told in the order in which they end"


# text, blocks, prose
FORMS: list[tuple[str, list[Block], str]] = [
    (f'<p data-bbox="{A}">a<p data-bbox="{B}">b</p>', [("paragraph", "a", AT_A), ("paragraph", "b", AT_B)], ""),
    (f'<h1 data-bbox="{A}">a<p data-bbox="{B}">b</p>', [("heading", "a", AT_A), ("paragraph", "b", AT_B)], ""),
    (
        f'<ul><li data-bbox="{A}">a<li data-bbox="{B}">b</ul>',  # items that nobody closed, in a list without a place
        [("list_item", "a", AT_A), ("list_item", "b", AT_B)],
        "",
    ),
    (f'<div><div data-bbox="{A}">a</div>', [("text", "a", AT_A)], ""),  # what is around it never ends
    (f'<p data-bbox="{A}">a</p></div></p></table>', [("paragraph", "a", AT_A)], ""),  # ends of nothing
    (f'<div data-bbox="{A}"><p>a<b>b</div>c', [("text", "ab", AT_A)], "c"),  # what is within it never ends
    ('<p data-bbox="1, 2, 30, 40">a</p>', [("paragraph", "a", AT_A)], ""),
    ("<p data-bbox='[1, 2, 30, 40]'>a</p>", [("paragraph", "a", AT_A)], ""),
    ("<p data-bbox=1,2,30,40>a</p>", [("paragraph", "a", AT_A)], ""),
    ('<P CLASS="caption" DATA-BBOX="1 2 30 40">a</P>', [("caption", "a", AT_A)], ""),
    ('<div class="Image OCR" bbox="1 2 30 40">a</div>', [("image_ocr", "a", AT_A)], ""),
    ('<div class="text" data-bbox="[[1, 2], [30, 2], [30, 40], [1, 40]]">a</div>', [("text", "a", AT_A)], ""),
    ('<p data-bbox="30 40 1 2">a</p>', [("paragraph", "a", AT_A)], ""),  # the other diagonal
    ('<p data-bbox="-9 2 30 40.0">a</p>', [("paragraph", "a", (0.0, 2.0, 30.0, 40.0))], ""),  # clipped
    (f'<div data-label="Section-Header" data-bbox="{A}">a</div>', [("section_header", "a", AT_A)], ""),
    (f'<img data-bbox="{A}">', [("image", "", AT_A)], ""),
    (f'<img alt="a > b" data-bbox="{A}"/>', [("image", "", AT_A)], ""),
    (
        f'<table data-bbox="{A}"><tr><td data-bbox="{B}">a<td>b<tr><td>c\nd</table>',  # cells are no blocks
        [("table", "a | b\nc d", AT_A)],
        "",
    ),
    (f'<table><tr><td data-bbox="{A}">a</td></tr></table>', [("cell", "a", AT_A)], ""),
    (
        f'<div class="page" data-bbox="{C}">x<p data-bbox="{A}">a</p>y</div>',  # each word belongs to what is around it
        [("paragraph", "a", AT_A), ("page", "x\ny", AT_C)],
        "",
    ),
    (f'<div data-bbox="{A}"><p data-bbox="{A}">a</p></div>', [("text", "a", AT_A)], ""),  # the same place twice
    (f'<p data-bbox="{A}">a &lt; b &amp;c &#x4e2d; < d</p>', [("paragraph", "a < b &c 中 < d", AT_A)], ""),
    (f'<p data-bbox="{A}">a\n  b \t c\n\n</p>', [("paragraph", "a\nb c", AT_A)], ""),  # lines stay, blanks do not
    (f'<p data-bbox="{A}">\x00\u202ea\ud800</p>', [("paragraph", "a?", AT_A)], ""),
    (f'<p data-bbox="{A}">a<!-- b > c -->d</p>', [("paragraph", "ad", AT_A)], ""),
    (f'<![CDATA[x]]><!DOCTYPE html><?x?><p data-bbox="{A}">a</p>', [("paragraph", "a", AT_A)], "< [CDATA[x]]>"),
    ("<h2>Title</h2><p>No box <b>at</b> all</p>", [], "Title\nNo box at all"),  # words without a place are prose
    (f'Here it is:\n```html\n<p data-bbox="{A}">a</p>\n```\nDone.', [("paragraph", "a", AT_A)], "Here it is:\nDone."),
    ("", [], ""),
    ("No text.", [], "No text."),
    ("```html\n<html><body></body></html>\n```", [], ""),
]


@pytest.mark.parametrize(("text", "blocks", "prose"), FORMS)
def test_lenient_forms(text: str, blocks: list[Block], prose: str) -> None:
    _, parsed = read(text)
    assert (shown(parsed), parsed.text, parsed.rejects) == (blocks, prose, ())


# text, reason and text of each reject
REFUSED: list[tuple[str, list[tuple[str, str]]]] = [
    ('<p data-bbox="1 2 3">a</p>', [("data-bbox has 3 numbers instead of 4", '<p data-bbox="1 2 3">a</p>')]),
    ('<p data-bbox="">a</p>', [("data-bbox has 0 numbers instead of 4", '<p data-bbox="">a</p>')]),
    ('<p data-bbox="1 2 1 40">a</p>', [("box has no area", '<p data-bbox="1 2 1 40">a</p>')]),
    ('<p data-bbox="2000 2 3000 4">a</p>', [("box lies outside the image", '<p data-bbox="2000 2 3000 4">a</p>')]),
    (
        f'<p data-bbox="{A}">a</p><p data-bbox="{A}">a</p>',
        [("exact repeat of an earlier object", f'<p data-bbox="{A}">a</p>')],
    ),
    (f'<p data-bbox="{A}">a', [("cut off", f'<p data-bbox="{A}">a')]),
    ('x <p data-bbox="1 2', [("cut off", '<p data-bbox="1 2')]),
    (f'<ol data-bbox="{C}"><li data-bbox="{A}">a</li>', [("cut off", f'<ol data-bbox="{C}">')]),
    ("a <b", []),
]


@pytest.mark.parametrize(("text", "rejects"), REFUSED)
def test_what_is_refused_has_a_reason_and_a_place(text: str, rejects: list[tuple[str, str]]) -> None:
    _, parsed = read(text)
    assert [(reject.reason, reject.text) for reject in parsed.rejects] == rejects
    assert all(text[slice(*reject.span)] == reject.text for reject in parsed.rejects)


def test_two_paragraphs_in_one_place_are_two() -> None:
    _, parsed = read(f'<p data-bbox="{A}">a</p><p data-bbox="{A}">b</p>')
    assert [found.text for found in parsed.objects] == ["a", "b"]


@pytest.mark.parametrize(
    ("coordinates", "xyxy"),
    [("absolute", (100.0, 50.0, 200.0, 100.0)), ("relative_1000", (64.0, 24.0, 128.0, 48.0))],
)
def test_both_frames_of_coordinates(coordinates: CoordinateFrame, xyxy: XYXY) -> None:
    sizes: dict[str, Any] = {"model_wh": (640, 480), "image_wh": (1280, 480), "coordinates": coordinates}
    _, parsed = read('<p data-bbox="50 50 100 100">a</p>', **sizes)
    assert parsed.objects[0].xyxy == pytest.approx(xyxy)


def test_what_stands_where_is_told_for_its_score() -> None:
    text = f'<p>é</p>\n<p data-bbox="{A}">a &amp; <b>b</b></p>'
    found = read(text)[1].objects[0]
    spans = found.evidence
    assert [text[slice(*span)] for span in spans.coordinates] == ["1", "2", "30", "40"]
    assert [text[slice(*span)] for span in spans.text] == ["a &amp; ", "b"]
    assert (text[slice(*spans.begin)], spans.label) == ('<p data-bbox="', ())
    assert text[slice(*found.span)] == f'<p data-bbox="{A}">a &amp; <b>b</b></p>'


THOUGHT = [
    (f'<think>hm <p data-bbox="{B}">x</p></think>\n<p data-bbox="{A}">a</p>', f'hm <p data-bbox="{B}">x</p>'),
    (f'hm <p data-bbox="{B}">x</p></think><p data-bbox="{A}">a</p>', f'hm <p data-bbox="{B}">x</p>'),  # never opened
]


@pytest.mark.parametrize(("text", "thinking"), THOUGHT)
@pytest.mark.parametrize("width", [1, 1000])
def test_thinking_is_kept_apart(text: str, thinking: str, width: int) -> None:
    _, parsed = read(text, [width])
    assert (shown(parsed), parsed.thinking, parsed.text) == ([("paragraph", "a", AT_A)], thinking, "")
    assert text[slice(*parsed.objects[0].span)] == f'<p data-bbox="{A}">a</p>'


@pytest.mark.parametrize("cut", range(0, len(REPORT), 7))
def test_a_reply_cut_anywhere_keeps_the_blocks_that_were_whole(cut: int) -> None:
    _, parsed = read(REPORT[:cut])
    assert shown(parsed) == OF_REPORT[: len(parsed.objects)]
    # Of what holds other blocks the span is the tag alone.
    plain = [found for found in read(REPORT)[1].objects if found.kind not in ("list", "image_caption")]
    assert len(parsed.objects) >= sum(found.span[1] <= cut for found in plain)


places = st.tuples(*(st.integers(0, 499) for _ in range(2)), *(st.integers(500, 1000) for _ in range(2)))
words = st.text("ab <&>{\"'", max_size=5).map(escape)


@st.composite
def elements(draw: st.DrawFn) -> str:
    """One block, or a list of blocks in a block, as a model writes it that makes no mistake."""
    place = " ".join(map(str, draw(places)))
    tag, inside = draw(st.sampled_from(["p", "h2", "table", "div", "ol", "img"])), draw(words)
    if tag == "img":
        return f'<img data-bbox="{place}"/>\n'
    if tag == "table":
        inside = "".join(
            f"<tr><td>{draw(words)}</td><td>{draw(words)}</td></tr>" for _ in range(draw(st.integers(0, 2)))
        )
    if tag == "div":
        inside = f'<img data-bbox="{place}"/><p>{inside}</p>'
    if tag == "ol":
        items = draw(st.lists(st.tuples(places, words), max_size=3))
        inside = "".join(f'<li data-bbox="{" ".join(map(str, at))}">{said}</li>' for at, said in items)
    return f'<{tag} class="x" data-bbox="{place}">{inside}</{tag}>\n'


@given(st.lists(elements(), max_size=6).map("".join), st.floats(0, 1))
@settings(max_examples=200)
def test_any_cut_of_a_valid_reply_yields_a_prefix_of_its_blocks(body: str, share: float) -> None:
    text = f"```html\n<html><body>\n{body}</body></html>\n```"
    whole, cut = read(text)[1], read(text[: round(share * len(text))])[1]
    assert cut.objects == whole.objects[: len(cut.objects)]
    assert {reject.reason for reject in cut.rejects} - {reject.reason for reject in whole.rejects} <= {"cut off"}
    assert "cut off" not in {reject.reason for reject in whole.rejects}


PIECES = [
    f'<p data-bbox="{A}">',
    f'<div class="image" data-bbox="{B}">',
    f'<img data-bbox="{C}"/>',
    f'<ol data-bbox="{C}">',
    f'<li data-bbox="{B}">',
    f'<table data-bbox="{A}">',
    *(
        "<p>",
        "</p>",
        "</div>",
        "</ol>",
        "</li>",
        "</table>",
        "<tr>",
        "<td>",
        "</td>",
        "</tr>",
        "<br>",
        "<b",
        "</",
        "<!--",
    ),
    *(
        "-->",
        "<![",
        "<!",
        "]]>",
        "<?",
        "<style>",
        "</style>",
        "<script>",
        "<title>",
        "<textarea>",
        "<plaintext>",
        "&amp",
        "&#1",
    ),
    *("<", ">", '"', "'", "=", "/", "\n", "\r", " ", "a", "中", "1", "\x00", "\ud800", "```html", "data-bbox="),
    *("<think>", "</think>", "<answer>", "</answer>", "<p data-bbox", '<p data-bbox="1 2', "<svg/>", '<a b="', "<A"),
]
replies = st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@example(f'<p data-bbox="{A}">a</think>b</p>', [1])
@example(f'<p data-bbox="{A}">a<think>c</think>b</p>', [2])
@example(f'<p data-bbox="{A}">a > b>> </p>', [1])
@given(replies, st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(max_examples=300)
def test_chunks_change_nothing_and_nothing_told_is_taken_back(text: str, sizes: list[int]) -> None:
    told, parsed = read(text, sizes)
    assert parsed == read(text)[1]
    if "</think>" not in text and "<answer>" not in text:
        assert tuple(told) == parsed.objects[: len(told)]
    for reject in parsed.rejects:
        assert reject.text == text[slice(*reject.span)] != ""


SLOW_SHAPES = [
    "<",
    "<p",
    "<p ",
    "<div>",
    "<p>",
    "</p>",
    "&",
    "<!--",
    "<b data-bbox='",
    "<td>",
    "\n",
    "a ",
    "<style>",
    "<![x",
]
SLOW_SHAPES += [
    f'<div data-bbox="{A}">',
    f'<p data-bbox="{A}">a</p>',
    "<a b='>",
    ">",
    "<table><tr><td>",
    "<think>",
    "</think>",
]


@pytest.mark.parametrize("width", [3, 10**6])
@pytest.mark.parametrize("shape", SLOW_SHAPES)
def test_time_is_linear(shape: str, width: int) -> None:
    """Four times the text, at most five times the lines executed."""
    short, long = (executed_lines(lambda: read(shape * count, [width])) for count in (100, 400))  # noqa: B023
    assert long < 5 * short + 2000
