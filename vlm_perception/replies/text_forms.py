"""Objects that a reply states outside of JSON, as candidates that are judged later.

Read: `<points x1= y1= ... alt=>name</points>` tags; the grounding tokens
`<|object_ref_start|>name<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>` (also
`<ref>`, `<box>`, the name after the box, several boxes after one name, and points); the same
without tokens as `name(x1,y1),(x2,y2)`; `x1,y1,x2,y2 name` lines; and bare `[x1, y1, x2, y2]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vlm_perception.replies.candidates import Candidate, as_text, numbers_in
from vlm_perception.replies.lenient_json import FULL_WIDTH

Span = tuple[int, int]

NUMBER = r"[-+]?\d+(?:\.\d+)?"
FOUR = rf"{NUMBER}(?:[ \t]*,[ \t]*{NUMBER}){{3}}"
PAIR = rf"\([ \t]*{NUMBER}[ \t]*,[ \t]*{NUMBER}[ \t]*\)"
# Pieces that may go over several lines are bounded, because it has to be certain where they end.
LONGEST_LIST = 512
MOST_LINES_OF_TAG = 20
_SHORT = r"[-+]?\d{1,20}(?:\.\d{1,20})?"

_ATTRIBUTES = rf"(?=\s)[^<>\n]*(?:\n[^<>\n]*){{0,{MOST_LINES_OF_TAG}}}"
_TAG = rf"<points?(?P<attributes>{_ATTRIBUTES})?(?:>(?:(?P<inside>[^<\n]*)</points?>)?|(?P<tag_cut>(?<!\n)\Z))"
_REF = r"(?:<\|object_ref_start\|>|<ref>)(?P<ref_name>[^<\n]*)(?:<\|object_ref_end\|>|</ref>)"
_BOX_START = r"<(?:\|(?:box|(?P<quad>quad))_start\||box)>"
_BOX_END = r"(?:<\|(?:box|quad)_end\|>|</box>|(?P<box_cut>\Z))?"
_BOX = rf"{_BOX_START}(?P<inner>[^<\n]*){_BOX_END}"
_LINE = (
    rf"^[ \t]*(?:[-*•][ \t]+)?[\[(]?(?P<four>{FOUR})[ \t]*[\])]?[ \t:;,-]*"
    r"(?P<line_name>[^\d\s\[\](),.:;<-][^\n<]*)?\r?$"
)
_CORNERS = rf"{PAIR}[ \t]*,?[ \t]*{PAIR}"
_LIST = (
    rf"\[\s{{0,24}}{_SHORT}(?:\s{{0,24}},\s{{0,24}}{_SHORT}){{3}}\s{{0,24}}"
    r"(?:,\s{0,24}[\"'](?P<list_name>[^\"'\n\[\]]{1,80})[\"']\s{0,24})?\]"
)
_FORM = re.compile(
    f"(?P<tag>{_TAG})|(?P<ref>{_REF})|(?P<box>{_BOX})|(?P<line>{_LINE})|(?P<corners>{_CORNERS})|(?P<list>{_LIST})",
    re.MULTILINE,
)
TAG_VALUE = re.compile(r"""\b([xy]\d*|alt)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_NUMBER = re.compile(NUMBER)
_WORD = re.compile(r"[^\s,;()\[\]]+")
# A name stands right before its coordinates or before a colon; more words are a sentence.
_NAME = re.compile(r"([^\W\d](?:[^\n<>()\[\]{},;:.!?]*[^\s<>()\[\]{},;:.!?])?)([ \t]*:[ \t]*)?\Z")
_SENTENCE = re.compile(r"(?i:\b(?:is|are|at|be|here|there|located|found|box|boxes|bbox|coordinates?)\b)|在|位于")
_BETWEEN = re.compile(r"[ \t,;]*")
_LONGEST_NAME = 80
_QUOTES = " \t\"'“”＂＇"


@dataclass(frozen=True, slots=True)
class Piece:
    """What one match says.

    Attributes:
        kind: `ref` names the boxes beside it, `box` is named by the ref beside it, `rest` needs
            nothing else.
        span: Character range in the reply.
        candidates: What it states.
        name: What a `ref` says.
        reason: Why nothing can be read from it.
    """

    kind: Literal["ref", "box", "rest"]
    span: Span
    candidates: tuple[Candidate, ...] = ()
    name: str = ""
    reason: str = ""


@dataclass(slots=True)
class _Stretch:
    """A stretch of the reply with its full-width signs made narrow, one for one."""

    text: str
    plain: str
    base: int
    done: int
    name: str = ""

    def span(self, match: re.Match[str], group: int | str = 0) -> Span:
        return match.start(group) + self.base, match.end(group) + self.base

    def said(self, start: int, end: int) -> str:
        return as_text(self.text[start + self.base : end + self.base]).strip(_QUOTES)

    def group(self, match: re.Match[str], group: str) -> str:
        return self.said(*match.span(group)) if match[group] is not None else ""


def text_pieces(text: str, start: int, end: int) -> Iterator[Piece]:
    """Read the objects in one stretch of text.

    Args:
        text: The reply so far.
        start: Index to begin at.
        end: Index to end at; nothing that reaches over it is read.
    """
    # With the character before, or every stretch would begin a line.
    base = max(0, start - 1)
    stretch = text[base:end]
    plain = stretch if stretch.isascii() else stretch.translate(FULL_WIDTH)
    view = _Stretch(text, plain, base, start - base)
    for match in _FORM.finditer(plain, start - base):
        piece = _READ[match.lastgroup or ""](match, view)
        view.done = match.end()
        view.name = view.name if match.lastgroup == "corners" else ""
        if piece is not None:
            yield piece


def _read_tag(match: re.Match[str], view: _Stretch) -> Piece | None:
    span = view.span(match)
    if match["tag_cut"] is not None:
        return Piece("rest", span, reason="cut off")
    found = {}
    if match["attributes"] is not None:
        found = {value[1]: value for value in TAG_VALUE.finditer(view.plain, *match.span("attributes"))}
    alt = found.pop("alt", None)
    label = view.group(match, "inside") or (view.said(*alt.span(2)) if alt else "")
    numbers = list(dict.fromkeys(name[1:] for name in found))
    candidates = []
    for number in numbers:
        pair = [found[axis + number] for axis in "xy" if axis + number in found]
        place = span if len(numbers) == 1 else (view.span(pair[0])[0], view.span(pair[-1])[1])
        candidates.append(Candidate("points", [part[2].strip("\"'") for part in pair], 2, label, place))
    if not numbers and match["attributes"] is not None:
        candidates.append(Candidate("points", [], 2, label, span))
    elif not numbers:
        inside = numbers_in(match["inside"] or "")
        candidates += [Candidate("point", inside, 2, "", span)] if inside else []
    return Piece("rest", span, tuple(candidates)) if candidates else None


def _read_ref(match: re.Match[str], view: _Stretch) -> Piece:
    return Piece("ref", view.span(match), name=view.group(match, "ref_name"))


def _read_box(match: re.Match[str], view: _Stretch) -> Piece:
    span = view.span(match)
    if match["box_cut"] is not None:
        return Piece("rest", span, reason="cut off")
    words = list(_WORD.finditer(view.plain, *match.span("inner")))
    count = len(words)
    size = 2 if count == 2 else 4
    if match["quad"] is not None or count <= 4 or count % 4:
        return Piece("box", span, (Candidate("box", [word[0] for word in words], size, "", span),))
    boxes = [words[at : at + 4] for at in range(0, count, 4)]
    places = [(view.span(box[0])[0], view.span(box[-1])[1]) for box in boxes]
    several = zip(boxes, places, strict=True)
    return Piece("box", span, tuple(Candidate("box", [w[0] for w in box], 4, "", place) for box, place in several))


def _read_line(match: re.Match[str], view: _Stretch) -> Piece:
    start = match.end() + view.base - len(match[0].lstrip())
    span = (start, match.end() + view.base)
    name = view.group(match, "line_name").strip(_QUOTES + "\r.,;")
    return Piece("rest", span, (Candidate("box", match["four"].split(","), 4, name, span),))


def _read_corners(match: re.Match[str], view: _Stretch) -> Piece:
    start = match.start()
    if not (view.name and _BETWEEN.fullmatch(view.plain, view.done, start)):
        start, view.name = _name_before(match, view, needs_colon=False)
    return _box_of(_NUMBER.findall(match[0]), view.name, (start + view.base, match.end() + view.base))


def _read_list(match: re.Match[str], view: _Stretch) -> Piece:
    start, name = match.start(), view.group(match, "list_name")
    numbers = match[0] if match["list_name"] is None else match[0][: match.start("list_name") - match.start()]
    if not name:
        start, name = _name_before(match, view, needs_colon=True)
    return _box_of(_NUMBER.findall(numbers), name, (start + view.base, match.end() + view.base))


def _box_of(numbers: list[str], name: str, span: Span) -> Piece:
    return Piece("rest", span, (Candidate("box", numbers, 4, name, span),))


def _name_before(match: re.Match[str], view: _Stretch, *, needs_colon: bool) -> tuple[int, str]:
    """Find the name that stands before coordinates without a sign between; ends where they begin."""
    begin = max(view.done, match.start() - _LONGEST_NAME)
    found = _NAME.search(view.plain[begin : match.start()])
    if not found or (needs_colon and not found[2]) or _SENTENCE.search(found[1]):
        return match.start(), ""
    return begin + found.start(), view.said(begin + found.start(1), begin + found.end(1)).strip("*_ ")


_READ = {
    "tag": _read_tag,
    "ref": _read_ref,
    "box": _read_box,
    "line": _read_line,
    "corners": _read_corners,
    "list": _read_list,
}
