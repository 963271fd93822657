"""The raw reply is shown whole, marked where it was read, and never run."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.apps.web.show import mark_reply, objects_table
from vlm_perception.replies.reader import parse_answer
from vlm_perception.types import DetectedObject, Reject

ALLOWED_TAGS = {"pre", "mark"}


class Reader(HTMLParser):
    """Collects tags, attributes and text of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def found(label: str, span: tuple[int, int]) -> DetectedObject:
    return DetectedObject(label, (0.0, 0.0, 1.0, 1.0), None, {}, span)


def test_objects_and_rejects_are_marked_where_they_stand() -> None:
    text = '[{"bbox_2d": [1, 2, 30, 40], "label": "cat"}, {"bbox_2d": [1, 2], "label": "dog"}] done'
    parsed = parse_answer(text, model_wh=(56, 56), image_wh=(56, 56))
    html = mark_reply(text, parsed.objects, parsed.rejects)
    good, bad = (piece.partition("</mark>")[0] for piece in html.split("<mark ")[1:])
    assert good.startswith('class="object" title="object 1: cat">')
    assert unescape(good.partition(">")[2]).strip() == '{"bbox_2d": [1, 2, 30, 40], "label": "cat"}'
    assert bad.startswith('class="reject" title="not accepted: ')
    assert "dog" in bad


def test_html_in_a_reply_is_text() -> None:
    text = '<script>alert(1)</script>{"label": "<img src=x onerror=alert(2)>"}'
    html = mark_reply(text, [found('"><script>', (25, len(text)))], [Reject("<b>no</b>", "", (0, 25))])
    assert "<script" not in html
    assert "<img" not in html
    read = Reader(html)
    assert set(read.tags) <= ALLOWED_TAGS
    assert {name for name, _ in read.attributes} == {"class", "title"}
    assert read.text == text


def test_text_that_two_objects_share_is_marked_once_and_what_has_no_place_not_at_all() -> None:
    objects = [found(label, span) for label, span in (("a", (2, 8)), ("b", (2, 8)), ("c", (6, 20)), ("d", (0, 0)))]
    html = mark_reply("0123456789", objects, [Reject("no place", "")])
    assert re.findall('object (.): (.)">(.*?)</mark>', html) == [("1", "a", "234567"), ("3", "c", "89")]


SPANS = st.tuples(st.integers(-5, 40), st.integers(-5, 40))


@given(st.text(max_size=30), st.lists(SPANS, max_size=5), st.lists(SPANS, max_size=5))
def test_every_character_is_shown_once_and_in_order(
    text: str, objects: list[tuple[int, int]], rejects: list[tuple[int, int]]
) -> None:
    html = mark_reply(text, [found("x", span) for span in objects], [Reject("y", "", span) for span in rejects])
    assert Reader(html).text == text


def test_scores_are_chances_for_nothing_but_what_they_were_fitted_on() -> None:
    objects = [found("cat", (0, 1))]
    assert "no chances of being right" in objects_table(objects, None, image_w=100)
    said = objects_table(objects, "12 <drawn> boxes", image_w=100)
    assert "images like those they were fitted on, 12 &lt;drawn&gt; boxes, and for no others" in said
