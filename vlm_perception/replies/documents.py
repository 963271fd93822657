"""From Qwen's document HTML to blocks in image pixels: `<p data-bbox="x1 y1 x2 y2">text</p>` and its like.

The form is the "QwenVL HTML" of the Qwen2.5-VL technical report (arXiv 2502.13923): paragraphs, headings, lists,
tables, and `<div class="chart">` (`formula`, `image caption`, `music sheet`, ...) around an `<img>` and what it shows,
each with its place. Read is also what models make of it: tags that are never closed, boxes with commas or brackets,
polygons, tags without a box, code fences, and a reply that was cut off anywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Literal, NamedTuple

from vlm_perception.replies.candidates import Candidate, as_text
from vlm_perception.replies.coordinates import image_scale
from vlm_perception.replies.keys import kind_of
from vlm_perception.replies.places import AREA
from vlm_perception.replies.sections import ENDS_THINKING, ReplySection, SectionSplitter, without_tags
from vlm_perception.replies.text_patterns import NUMBER
from vlm_perception.replies.validation import Validator
from vlm_perception.types import WH, CoordinateFrame, DetectedObject, EvidenceSpans, ParsedAnswer, Span

HTML_TAGS = (
    "html|head|body|main|section|article|header|footer|h[1-6]|p|div|span|table|ul|ol|li|img|figure|style|pre|blockquote"
)
_HEADING = re.compile(r"h[1-6]")
_KINDS = {
    "p": "paragraph",
    "table": "table",
    "ul": "list",
    "ol": "list",
    "li": "list_item",
    "img": "image",
    "figure": "image",
    "figcaption": "caption",
    "caption": "caption",
    "pre": "code",
    "code": "code",
    "tr": "row",
    "td": "cell",
    "th": "cell",
    "header": "header",
    "footer": "footer",
}
# Their class says nothing of what they are: Qwen writes `class="table3"` for its style.
_OF_THEIR_OWN = ("table", "ul", "ol", "li", "img", "tr", "td", "th")
_LONGEST_KIND = 40
_VOID = ("img", "br", "hr", "col", "input", "link", "meta", "wbr")
_UNSEEN = ("style", "script")
_CELLS = ("td", "th")
_LINES = ("p", "div", "li", "ul", "ol", "table", "tr", "br", "hr", "figure", "figcaption", "caption", "section", "pre")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
# What a tag ends that nobody closed before it.
_ENDS = dict.fromkeys((*_LINES, *_HEADINGS), ("p", *_HEADINGS)) | {
    "br": (),
    "li": ("p", *_HEADINGS, "li"),
    "tr": ("p", "td", "th", "tr"),
    "td": ("p", "td", "th"),
    "th": ("p", "td", "th"),
}
# Behind each cell of a row, until it is written for people.
_CELL_END = "\x1f"
_BEGUN_TAG = re.compile(r"<[/a-zA-Z][^<>]*\Z")
_FENCE = re.compile(r"[`~]{3}\w*")
# The standard library's parser of Python up to 3.13 raises an AssertionError on it.
_MARKED_SECTION = "<!["


class _Event(NamedTuple):
    """What the parser met, with its characters in the reply."""

    kind: Literal["start", "end", "text"]
    tag: str
    span: Span
    attributes: tuple[tuple[str, str | None], ...] = ()
    text: str = ""


class _Tags(HTMLParser):
    """Tells tags and text with their places; `base` is the place of its first character in the reply."""

    def __init__(self, base: int) -> None:
        super().__init__(convert_charrefs=True)
        self._line_starts = [base]
        self._fed_to = base
        self._text_at: tuple[int, list[str]] | None = None
        self._events: list[_Event] = []

    def read(self, text: str) -> list[_Event]:
        """Take more, which ends with a `>`, and return what is complete with it."""
        self._line_starts += (self._fed_to + line.end() for line in re.finditer("\n", text))
        self._fed_to += len(text)
        self.feed(text.replace(_MARKED_SECTION, "< ["))
        events, self._events = self._events, []
        return events

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start = self._end_text()
        self._events.append(_Event("start", tag, (start, start + len(self.get_starttag_text() or "")), tuple(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        start = self._end_text()
        self._events.append(_Event("end", tag, (start, start)))

    def handle_data(self, data: str) -> None:
        # Where a `>` stands in a text, the parser tells it in pieces, which depend on how the reply comes.
        if self._text_at is None:
            self._text_at = self._end_text(), []
        self._text_at[1].append(data)

    def handle_comment(self, data: str) -> None:
        self._end_text()

    def handle_decl(self, decl: str) -> None:
        self._end_text()

    def handle_pi(self, data: str) -> None:
        self._end_text()

    def unknown_decl(self, data: str) -> None:
        self._end_text()

    def _end_text(self) -> int:
        """Return the place of what comes now, where the text before it ends."""
        line, column = self.getpos()
        at = self._line_starts[line - 1] + column
        if self._text_at is not None:
            start, pieces = self._text_at
            self._events.append(_Event("text", "", (start, at), text="".join(pieces)))
            self._text_at = None
        return at


@dataclass(slots=True)
class _Block:
    """An element with a place, which has not ended.

    Attributes:
        kind: What it is.
        tag_span: Characters of its start tag.
        box_key: Attribute that holds its place.
        box: What stands in it.
        numbers: Characters of the numbers of its place.
        level: Of a heading.
        parts: Text inside it that lies in no block within.
        text_spans: Characters of that text.
        holds_blocks: Whether a block lies within.
    """

    kind: str
    tag_span: Span
    box_key: str
    box: str
    numbers: tuple[Span, ...]
    level: str = ""
    parts: list[str] = field(default_factory=list)
    text_spans: list[Span] = field(default_factory=list)
    holds_blocks: bool = False


@dataclass(frozen=True, slots=True)
class _Element:
    """An open tag, the block that it begins if it does, and the block that text in it belongs to."""

    tag: str
    begins: _Block | None
    inside: _Block | None


class DocumentReader:
    """Reads a document's HTML while it is written.

    A block is an element with a place. It is told with its end tag, or with the tag that ends it; text belongs to the
    innermost block around it, and text in none is prose. Within a table, and where an element repeats the place of the
    block around it, nothing is a block of its own. What `feed` returned is the beginning of what `finish` returns,
    under the conditions of `AnswerReader`. A block that was cut off is a reject.

    Args:
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.

    Raises:
        GeometryError: A size is not positive, or `coordinates` is neither frame.
    """

    def __init__(self, *, model_wh: WH, image_wh: WH, coordinates: CoordinateFrame = "absolute") -> None:
        self._image_wh, self._scale = image_wh, image_scale(model_wh, image_wh, coordinates)
        self._splitter = SectionSplitter()
        self._passed = 0
        self._apart: list[Span] = []
        self._begin(0)

    def _begin(self, at: int) -> None:
        self._validator = Validator(self._image_wh, self._scale)
        self._tags = _Tags(at)
        # Behind the last `>`, which may go on.
        self._waiting: list[str] = []
        self._open: list[_Element] = []
        self._open_tags: Counter[str] = Counter()
        self._prose: list[str] = []

    @property
    def text(self) -> str:
        """The reply so far."""
        return self._splitter.text

    @property
    def told(self) -> int:
        """How many blocks stand; see `AnswerReader.told`."""
        return len(self._validator.objects)

    def feed(self, chunk: str) -> tuple[DetectedObject, ...]:
        """Take more of the reply and return the blocks that became complete with it.

        Args:
            chunk: What comes next, of any length.
        """
        return self._pass(self._splitter.feed(chunk))

    def finish(self) -> ParsedAnswer:
        """End the reply and return all of it."""
        self._pass(self._splitter.finish())
        rest = "".join(self._waiting)
        begun = _BEGUN_TAG.search(rest)
        end = begun.start() if begun else len(rest)
        # A tag that says nothing ends the text before it.
        self._handle(self._tags.read(rest[:end] + "<wbr>"))
        raw_end = self._passed
        for element in self._open:
            block = element.begins
            if block is not None:
                span = block.tag_span if block.holds_blocks else (block.tag_span[0], raw_end)
                self._validator.reject("cut off", span, self.text)
        if begun and any(kind_of(word) in ("box", "place") for word in re.findall(r"[\w-]+", begun[0])[1:]):
            self._validator.reject("cut off", (raw_end - len(begun[0]), raw_end), self.text)
        return ParsedAnswer(
            tuple(self._validator.objects),
            tuple(sorted(self._validator.rejects, key=lambda reject: reject.span)),
            _lines(_FENCE.sub("\n", "".join(self._prose))),
            without_tags("".join(self.text[slice(*span)] for span in self._apart)),
            self._validator.remarks + ((ENDS_THINKING,) if self._splitter.is_thinking else ()),
        )

    def _pass(self, sections: Iterable[ReplySection]) -> tuple[DetectedObject, ...]:
        validator, known = self._validator, len(self._validator.objects)
        for kind, text in sections:
            if not text:
                continue
            start, self._passed = self._passed, self._passed + len(text)
            if kind == "forget":
                self._apart = [(0, self._passed)]
                self._begin(self._passed)
            elif kind == "apart":
                self._apart.append((start, self._passed))
                self._read(" " * len(text))
            else:
                self._read(text)
        return tuple(self._validator.objects[known if self._validator is validator else 0 :])

    def _read(self, text: str) -> None:
        end = text.rfind(">") + 1
        if end:
            self._handle(self._tags.read("".join((*self._waiting, text[:end]))))
            self._waiting = []
        self._waiting.append(text[end:])

    def _handle(self, events: Iterable[_Event]) -> None:
        for event in events:
            if event.kind == "start":
                self._start(event)
            elif event.kind == "end":
                self._end(event.tag, event.span[0])
            elif not (self._open and self._open[-1].tag in _UNSEEN):
                text = event.text.replace(_CELL_END, " ")
                self._say(text.replace("\n", " ") if self._in_cell else text, event.span)

    def _start(self, event: _Event) -> None:
        tag = event.tag
        while self._open and self._open[-1].tag in _ENDS.get(tag, ()):
            self._close_last(event.span[0])
        self._break_line(tag)
        around = self._open[-1].inside if self._open else None
        block = self._block(event, around)
        if block is not None and around is not None:
            around.holds_blocks = True
        if tag not in _VOID:
            self._open.append(_Element(tag, block, block or around))
            self._open_tags[tag] += 1
        elif block is not None:
            self._tell(block, event.span[1])

    def _block(self, event: _Event, around: _Block | None) -> _Block | None:
        attributes = {key: value for key, value in event.attributes if value is not None}
        key = next((key for key in attributes if kind_of(key) in ("box", "place", "area")), None)
        if key is None or (around is not None and (around.kind == "table" or around.box == attributes[key])):
            return None
        start, end = event.span
        written = re.search(
            rf"""{re.escape(key)}\s*=\s*("[^"]*"|'[^']*'|[^\s>]*)""", self.text[start:end], re.IGNORECASE
        )
        found = NUMBER.finditer(self.text, start + written.start(1), start + written.end(1)) if written else ()
        level = event.tag[1] if _HEADING.fullmatch(event.tag) else ""
        return _Block(
            _kind(event.tag, attributes.get("class") or attributes.get("data-label", "")),
            event.span,
            key,
            attributes[key],
            tuple(number.span() for number in found),
            level,
        )

    def _end(self, tag: str, at: int) -> None:
        """Close a tag and what is open within it; one that is not open says nothing."""
        self._break_line(tag)
        if not self._open_tags[tag]:
            return
        while self._open[-1].tag != tag:
            self._close_last(at)
        closing = self.text.find(">", at) + 1
        self._close_last(closing or at)

    def _close_last(self, at: int) -> None:
        element = self._open.pop()
        self._open_tags[element.tag] -= 1
        if element.tag in _CELLS:
            self._say_in(element.inside, _CELL_END)
        if element.begins is not None:
            self._tell(element.begins, at)

    @property
    def _in_cell(self) -> bool:
        return any(self._open_tags[cell] for cell in _CELLS)

    def _break_line(self, tag: str) -> None:
        if tag in _LINES or tag in _HEADINGS:
            # A row of a table is one line, whatever its cells hold.
            self._say(" " if self._in_cell else "\n")

    def _say(self, text: str, span: Span | None = None) -> None:
        block = self._open[-1].inside if self._open else None
        self._say_in(block, text)
        if block is not None and span is not None and text.strip():
            block.text_spans.append(span)

    def _say_in(self, block: _Block | None, text: str) -> None:
        (self._prose if block is None else block.parts).append(text)

    def _tell(self, block: _Block, end: int) -> None:
        words = [self.text[slice(*number)] for number in block.numbers]
        first = block.numbers[0][0] if block.numbers else block.tag_span[1]
        evidence = EvidenceSpans(block.numbers, (), (block.tag_span[0], first), tuple(block.text_spans))
        span = block.tag_span if block.holds_blocks else (block.tag_span[0], end)
        size = AREA if len(words) > 4 and len(words) % 2 == 0 else 4
        attributes = {"level": block.level} if block.level else {}
        candidate = Candidate(block.box_key, words, size, block.kind, span, evidence, attributes)
        self._validator.accept(candidate._replace(kind=block.kind, text=_lines("".join(block.parts))), self.text)


def _kind(tag: str, classes: str) -> str:
    """Tell what a block is, in words of Qwen's where its class has them."""
    if _HEADING.fullmatch(tag):
        return "heading"
    named = "_".join(as_text(classes).lower().replace("-", " ").split())[:_LONGEST_KIND]
    return named if named and tag not in _OF_THEIR_OWN else _KINDS.get(tag, "text")


def _lines(text: str) -> str:
    """Write text as lines without blanks around them, in signs that any message can carry."""
    lines = (
        " | ".join(_words(cell) for cell in line.removesuffix(_CELL_END).split(_CELL_END)) for line in text.split("\n")
    )
    return "\n".join(line for line in lines if line)


def _words(text: str) -> str:
    return " ".join(as_text(text).split())
