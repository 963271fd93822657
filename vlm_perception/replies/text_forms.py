"""Objects that a reply states outside of JSON, as candidates that are validated later.

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

from vlm_perception.replies.candidates import Candidate, as_text, lead_start, numbers_in
from vlm_perception.replies.lenient_json import FULL_WIDTH, TreeNode
from vlm_perception.types import EvidenceSpans, Span

_N = r"[-+]?\d+(?:\.\d+)?"
_FOUR = rf"{_N}(?:[ \t]*,[ \t]*{_N}){{3}}"
_PAIR = rf"\([ \t]*{_N}[ \t]*,[ \t]*{_N}[ \t]*\)"
# Pieces that may go over several lines are bounded, because it has to be certain where they end.
_LONGEST_LIST = 512
_MOST_LINES_OF_TAG = 20
_SHORT = r"[-+]?\d{1,20}(?:\.\d{1,20})?"

_ATTRIBUTES = rf"(?=\s)[^<>\n]*(?:\n[^<>\n]*){{0,{_MOST_LINES_OF_TAG}}}"
_TAG = rf"<points?(?P<attributes>{_ATTRIBUTES})?(?:>(?:(?P<inside>[^<\n]*)</points?>)?|(?P<tag_cut>(?<!\n)\Z))"
_REF = r"(?:<\|object_ref_start\|>|<ref>)(?P<ref_name>[^<\n]*)(?:<\|object_ref_end\|>|</ref>)"
_BOX_START = r"<(?:\|(?:box|(?P<quad>quad))_start\||box)>"
_BOX_END = r"(?:<\|(?:box|quad)_end\|>|</box>|(?P<box_cut>\Z))?"
_BOX = rf"{_BOX_START}(?P<inner>[^<\n]*){_BOX_END}"
_LINE = (
    rf"^[ \t]*(?:[-*•][ \t]+)?[\[(]?(?P<four>{_FOUR})[ \t]*[\])]?[ \t:;,-]*"
    r"(?P<line_name>[^\d\s\[\](),.:;<-][^\n<]*)?\r?$"
)
_CORNERS = rf"{_PAIR}[ \t]*,?[ \t]*{_PAIR}"
_LIST = (
    rf"\[\s{{0,24}}{_SHORT}(?:\s{{0,24}},\s{{0,24}}{_SHORT}){{3}}\s{{0,24}}"
    r"(?:,\s{0,24}[\"'](?P<list_name>[^\"'\n\[\]]{1,80})[\"']\s{0,24})?\]"
)
_FORM = re.compile(
    f"(?P<tag>{_TAG})|(?P<ref>{_REF})|(?P<box>{_BOX})|(?P<line>{_LINE})|(?P<corners>{_CORNERS})|(?P<list>{_LIST})",
    re.MULTILINE,
)
_TAG_VALUE = re.compile(r"""\b([xy]\d*|alt)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_NUMBER = re.compile(_N)
_WORD = re.compile(r"[^\s,;()\[\]]+")
# A name stands right before its coordinates or before a colon; more words are a sentence.
_NAME = re.compile(r"([^\W\d](?:[^\n<>()\[\]{},;:.!?]*[^\s<>()\[\]{},;:.!?])?)([ \t]*:[ \t]*)?\Z")
_SENTENCE = re.compile(r"(?i:\b(?:is|are|at|be|here|there|located|found|box|boxes|bbox|coordinates?)\b)|在|位于")
_BETWEEN = re.compile(r"[ \t,;]*")
_UNQUOTED = re.compile(r"[^\"']+")
_LONGEST_NAME = 80
_AROUND_NAME = " \t\"'“”＂＇"
_OPEN_TAG = re.compile(r"<points?\s[^<>]*\Z")
_TAG_SIGN = re.compile("[<>＜＞]")
_OPEN_LIST = re.compile(r"\[[\s\d.,+-]*(?:[\"'][^\"'\n\[\]]*[\"']?\s*)?\Z")
_LIST_SIGN = re.compile(r"[\[\]［］【】]")


@dataclass(frozen=True, slots=True)
class TextForm:
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
    name: TreeNode | None = None
    reason: str = ""


@dataclass(slots=True)
class _Stretch:
    """A stretch of the reply with its full-width signs made narrow, one for one."""

    text: str
    plain: str
    base: int
    done: int
    name: TreeNode | None = None

    def span(self, match: re.Match[str], group: int | str = 0) -> Span:
        return match.start(group) + self.base, match.end(group) + self.base

    def words(self, pattern: re.Pattern[str], start: int, end: int) -> list[TreeNode]:
        return [TreeNode(word[0], self.span(word)) for word in pattern.finditer(self.plain, start, end)]

    def name_at(self, start: int, end: int, around: str = _AROUND_NAME) -> TreeNode | None:
        """Read a name without the signs around it."""
        said = as_text(self.text[start + self.base : end + self.base])
        at = start + self.base + len(said) - len(said.lstrip(around))
        said = said.strip(around)
        return TreeNode(said, (at, at + len(said))) if said else None

    def candidate(
        self, key: str, size: int, numbers: list[TreeNode], name: TreeNode | None, span: Span, opened: int
    ) -> Candidate:
        """Make a candidate that begins at `opened`, and whose first content is its name or its numbers."""
        contents = [node.span[0] for node in (*numbers[:1], name) if node is not None and node.span[0] >= opened]
        begin = (opened, min(contents, default=opened))
        evidence = EvidenceSpans(tuple(number.span for number in numbers), (), begin)
        return Candidate(key, [number.value for number in numbers], size, "", span, evidence).named(name)

    def box(self, numbers: Span, name: TreeNode | None, start: int, end: int) -> TextForm:
        """Make a box of its own: numbers at `numbers`, everything from `start` to `end`."""
        span = (start + self.base, end + self.base)
        opened = lead_start(self.text, span[0], by_line=True)
        return TextForm("rest", span, (self.candidate("box", 4, self.words(_NUMBER, *numbers), name, span, opened),))


def text_forms(text: str, start: int, end: int) -> Iterator[TextForm]:
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
        form = _READ[match.lastgroup or ""](match, view)
        view.done = match.end()
        view.name = view.name if match.lastgroup == "corners" else None
        if form is not None:
            yield form


def _read_tag(match: re.Match[str], view: _Stretch) -> TextForm | None:
    span = view.span(match)
    opened = lead_start(view.text, span[0])
    if match["tag_cut"] is not None:
        return TextForm("rest", span, reason="cut off")
    if match["attributes"] is None:
        inside = numbers_in(match["inside"] or "", view.span(match, "inside")[0])
        return (
            TextForm("rest", span, (view.candidate("point", 2, inside.value, None, span, opened),)) if inside else None
        )
    values = {value[1]: value for value in _TAG_VALUE.finditer(view.plain, *match.span("attributes"))}
    alt = values.pop("alt", None)
    name = view.name_at(*match.span("inside")) or (view.name_at(*alt.span(2)) if alt else None)
    numbers = list(dict.fromkeys(key[1:] for key in values))
    candidates = []
    for number in numbers:
        pair = [values[axis + number] for axis in "xy" if axis + number in values]
        own = span if len(numbers) == 1 else (view.span(pair[0])[0], view.span(pair[-1])[1])
        words = [word for value in pair for word in view.words(_UNQUOTED, *value.span(2))]
        candidates.append(view.candidate("points", 2, words, name, own, opened))
        opened = words[-1].span[1] if words else opened
    return TextForm("rest", span, tuple(candidates) or (view.candidate("points", 2, [], name, span, opened),))


def _read_ref(match: re.Match[str], view: _Stretch) -> TextForm:
    return TextForm("ref", view.span(match), name=view.name_at(*match.span("ref_name")))


def _read_box(match: re.Match[str], view: _Stretch) -> TextForm:
    span = view.span(match)
    if match["box_cut"] is not None:
        return TextForm("rest", span, reason="cut off")
    words = view.words(_WORD, *match.span("inner"))
    opened = lead_start(view.text, span[0], by_line=True)
    if match["quad"] is not None or len(words) <= 4 or len(words) % 4:
        size = 2 if len(words) == 2 else 4
        return TextForm("box", span, (view.candidate("box", size, words, None, span, opened),))
    candidates = []
    for at in range(0, len(words), 4):
        start, end = words[at].span[0], words[at + 3].span[1]
        candidates.append(view.candidate("box", 4, words[at : at + 4], None, (start, end), opened))
        opened = end
    return TextForm("box", span, tuple(candidates))


def _read_line(match: re.Match[str], view: _Stretch) -> TextForm:
    name = view.name_at(*match.span("line_name"), _AROUND_NAME + "\r.,;")
    return view.box(match.span("four"), name, match.end() - len(match[0].lstrip()), match.end())


def _read_corners(match: re.Match[str], view: _Stretch) -> TextForm:
    start = match.start()
    if not (view.name and _BETWEEN.fullmatch(view.plain, view.done, start)):
        start, view.name = _name_before(match, view, needs_colon=False)
    return view.box(match.span(), view.name, start, match.end())


def _read_list(match: re.Match[str], view: _Stretch) -> TextForm:
    start, name = match.start(), view.name_at(*match.span("list_name"))
    numbers_end = match.end() if match["list_name"] is None else match.start("list_name")
    if not name:
        start, name = _name_before(match, view, needs_colon=True)
    return view.box((match.start(), numbers_end), name, start, match.end())


def _name_before(match: re.Match[str], view: _Stretch, *, needs_colon: bool) -> tuple[int, TreeNode | None]:
    """Find the name that stands before coordinates without a sign between; ends where they begin."""
    begin = max(view.done, match.start() - _LONGEST_NAME)
    found = _NAME.search(view.plain[begin : match.start()])
    if not found or (needs_colon and not found[2]) or _SENTENCE.search(found[1]):
        return match.start(), None
    return begin + found.start(), view.name_at(begin + found.start(1), begin + found.end(1), _AROUND_NAME + "*_")


_READ = {
    "tag": _read_tag,
    "ref": _read_ref,
    "box": _read_box,
    "line": _read_line,
    "corners": _read_corners,
    "list": _read_list,
}


def safe_end(text: str, start: int, end: int) -> int:
    """Return the last place up to which the text reads the same whatever follows.

    That is the end of a line, unless a tag or a list of numbers goes on behind it.

    Args:
        text: The reply so far.
        start: A place that was safe.
        end: Index to look up to.
    """
    cut = text.rfind("\n", start, end) + 1
    while cut > start:
        opened = _opened_before(text, start, cut, end)
        if opened < 0:
            return cut
        cut = text.rfind("\n", start, opened) + 1
    return start


def _opened_before(text: str, start: int, cut: int, end: int) -> int:
    """Find what begins before `cut` and may go on behind it; -1 when nothing does."""
    tag = max(text.rfind(sign, start, cut) for sign in "<＜")
    if tag >= 0 and text.count("\n", tag, cut) <= _MOST_LINES_OF_TAG and _fits(_OPEN_TAG, text, tag, cut):
        closing = _TAG_SIGN.search(text, cut, end)
        if closing is None or closing[0] in ">＞":
            return tag
    opened = max(text.rfind(sign, max(start, cut - _LONGEST_LIST), cut) for sign in "[［【")
    if opened >= 0 and _fits(_OPEN_LIST, text, opened, cut):
        closing = _LIST_SIGN.search(text, cut, min(end, opened + _LONGEST_LIST))
        if closing is None or closing[0] in "]］】":
            return opened
    return -1


def _fits(pattern: re.Pattern[str], text: str, start: int, end: int) -> bool:
    return pattern.match(text[start:end].translate(FULL_WIDTH)) is not None
