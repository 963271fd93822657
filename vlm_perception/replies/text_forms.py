"""Objects that a reply states outside of JSON, as candidates that are validated later.

Read: `<points x1= y1= ... alt=>name</points>` tags; the grounding tokens
`<|object_ref_start|>name<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>` (also
`<ref>`, `<box>`, the name after the box, several boxes after one name, points, quads, and tokens that are
numbers, `<x1><y1><x2><y2>`); the same without tokens as `name(x1,y1),(x2,y2)`; lines `x1,y1,x2,y2 name` and
`name, x1, y1, x2, y2`; rows of tables; and bare `[x1, y1, x2, y2]`. Lines of YAML, other tags with a box among their
attributes and calls with one among their arguments are items like those of JSON, see `items.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from vlm_perception.replies.candidates import Candidate, as_text, lead_start
from vlm_perception.replies.items import item_candidates, understand
from vlm_perception.replies.keys import is_measure, kind_of, names_things
from vlm_perception.replies.lenient_json import FULL_WIDTH, TreeNode, Values
from vlm_perception.replies.places import AREA, numbers_in, spread_place
from vlm_perception.replies.text_patterns import FORM, NEXT_KEY, NUMBER, PAIR_OF_KEY, SMALL_FORM, YAML_LINE
from vlm_perception.types import EvidenceSpans, Span

_TAG_VALUE = re.compile(r"""\b([xy]\d*|alt)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_WORD = re.compile(r"[^\s,;()\[\]]+")
# A name stands right before its coordinates or before a colon; more words are a sentence.
_NAME = re.compile(
    r"([^\W\d](?:[^\n<>()\[\]{},;:.!?]*?[^\s<>()\[\]{},;:.!?])?)([ \t]*:[ \t]*|[ \t]+(?:[-–—=→]|[-=]>)[ \t]*)?[ \t]*\Z"
)
# Signs around a name, or the beginning of its line, do what a colon does.
_MARKED_NAME = re.compile(r"(`|\*{1,2}|_{1,2})([^*_`\n]{1,80})\1[ \t]*[:\-–—=→>]*[ \t]*\Z")
_BEGINS_LINE = re.compile(r"(?:\A|\n)[ \t]*((?:[-*•]|\d{1,3}[.)])[ \t]+)\Z")
_MOST_WORDS = 4
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*("[^"]*"|'[^']*'|\([^()]*\)|\[[^\[\]]*\]|[^\s"'>,()]+)""")
_SENTENCE = re.compile(r"(?i:\b(?:is|are|at|be|here|there|located|found|box|boxes|bbox|coordinates?)\b)|在|位于")
# Tags that say how text looks, and not what is there.
_LAYOUT_TAGS = ("td", "th", "li", "p", "span", "div", "b", "i", "strong", "em", "code", "pre", "br", "u")
_GRID_NUMBER = re.compile(r"\d+")
# The last line of the grid on which coordinates are tokens of their own.
_GRID_END = 999
_BETWEEN = re.compile(r"[ \t,;]*")
_UNQUOTED = re.compile(r"[^\"']+")
_LONGEST_NAME = 80
_AROUND_NAME = " \t\"'“”＂＇`*"


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


_NO_FORM = TextForm("rest", (0, 0))


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

    def value_at(self, start: int, end: int) -> TreeNode:
        """Read a value: numbers, or text without the signs around it."""
        inside = self.plain[start:end]
        body = inside.strip(" \t\r\"'`*,")
        at = start + inside.find(body)
        numbers = numbers_in(body, at + self.base)
        if numbers is not None:
            return numbers if len(numbers.value) > 1 else TreeNode(numbers.value[0].value, numbers.span)
        return self.name_at(start, end, _AROUND_NAME + "\r,") or TreeNode(None, (at + self.base, at + self.base))

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
        return TextForm("rest", span, (self.candidate("box", 4, self.words(NUMBER, *numbers), name, span, opened),))


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
    yield from _forms(FORM, view, start - base, len(plain))


def _forms(pattern: re.Pattern[str], view: _Stretch, start: int, end: int) -> Iterator[TextForm]:
    for match in pattern.finditer(view.plain, start, end):
        form = _READ[match.lastgroup or ""](match, view)
        if form is None and match.lastgroup in ("block", "wrapped"):
            yield from _forms(SMALL_FORM, view, *match.span("body" if match.lastgroup == "wrapped" else 0))
            continue
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
    bare = match["grid"] is not None
    inner = match.span("grid" if bare else "inner")
    on_grid = bare or "<" in match["inner"]
    words = view.words(_GRID_NUMBER if on_grid else _WORD, *inner)
    opened = lead_start(view.text, span[0], by_line=True)
    if match["quad"] is not None or len(words) <= 4 or len(words) % 4:
        size = 2 if len(words) == 2 else AREA if match["quad"] is not None and len(words) > 4 else 4
        pieces = [(words, size, span)]
    else:
        pieces = [(words[at : at + 4], 4, (words[at].span[0], words[at + 3].span[1])) for at in range(0, len(words), 4)]
    candidates = []
    for numbers, size, own in pieces:
        candidate = view.candidate("box", size, numbers, None, own, opened)
        candidates.append(candidate._replace(grid=_GRID_END) if on_grid else candidate)
        opened = own[1]
    if bare:
        start, name = _name_before(match, view, needs_colon=False)
        if name is not None:
            named = tuple(candidate.named(name) for candidate in candidates)
            return TextForm("rest", (start + view.base, span[1]), named)
    return TextForm("box", span, tuple(candidates))


def _read_element(match: re.Match[str], view: _Stretch) -> TextForm | None:
    values = _attributes(match, "html_attributes", view)
    tag = TreeNode(match["html"], view.span(match, "html"))
    said = view.name_at(*match.span("html_text")) if match["html_text"] is not None else None
    if said is not None:
        values.setdefault("label" if not names_things(tag.value) else "content", said)
    return _item_form(values, view.span(match), tag if names_things(tag.value) else None, view)


def _read_action(match: re.Match[str], view: _Stretch) -> TextForm | None:
    values = _attributes(match, "arguments", view)
    start = match.start("call") + match["call"].rfind(".") + 1
    name = view.name_at(start, match.end("call"))
    located = [key for key in values if kind_of(key) not in ("name", "other")]
    if len(located) < 2:
        return _item_form(values, view.span(match), name, view)
    candidates: list[Candidate] = []
    for key in located:
        form = _item_form({key: values[key]}, view.span(match), name, view)
        candidates += form.candidates if form else ()
    return TextForm("rest", view.span(match), tuple(candidates)) if candidates else None


def _read_block(match: re.Match[str], view: _Stretch) -> TextForm | None:
    values: Values = {}
    things: list[Values] = [values]
    last = ""
    for line in re.finditer(r"[^\n]+", match["yaml"]):
        at = match.start("yaml") + line.start()
        cuts = [at, *(cut.end() for cut in NEXT_KEY.finditer(view.plain, at, at + len(line[0]))), at + len(line[0])]
        for start, end in pairwise(cuts):
            indent = len(view.plain[start:end]) - len(view.plain[start:end].lstrip(" \t-"))
            found = YAML_LINE.match(view.plain, start + indent, end)
            if found is None:
                continue
            key = found["key"].strip("\"'`* ") if found["key"] is not None else last
            if found["key"] is not None and key in values:
                values = {}
                things.append(values)
            node = view.value_at(*found.span("value"))
            values[key] = _joined(values[key], node) if found["key"] is None and key in values else node
            last = key
    span = (view.span(match)[0], view.span(match)[1])
    candidates = [c for thing in things for c in (_item_form(thing, span, None, view) or _NO_FORM).candidates]
    return TextForm("rest", span, tuple(candidates)) if candidates else None


def _read_wrapped(match: re.Match[str], view: _Stretch) -> TextForm | None:
    tag, numbers = TreeNode(match["outer"], view.span(match, "outer")), view.value_at(*match.span("body"))
    if tag.value.lower() in _LAYOUT_TAGS:
        return None
    return _item_form({"coordinates": numbers}, view.span(match), tag if names_things(tag.value) else None, view)


def _read_spread(match: re.Match[str], view: _Stretch) -> TextForm | None:
    values: Values = {}
    for pair in PAIR_OF_KEY.finditer(view.plain, *match.span("pairs")):
        values[pair[1]] = view.value_at(*pair.span(2))
    return _item_form(values, view.span(match), None, view) if spread_place(values) else None


def _read_row(match: re.Match[str], view: _Stretch) -> TextForm | None:
    cells: list[tuple[int, int]] = []
    at = match.start("cells")
    for cell in match["cells"].split("|"):
        cells.append((at, at + len(cell)))
        at += len(cell) + 1
    names, numbers, place = [], [], None
    for start, end in cells:
        said = view.plain[start:end].strip(" \t`*\"'")
        if numbers_in(said, 0) is not None:
            words = view.words(NUMBER, start, end)
            if len(words) in (2, 4) and place is None and (len(words) == 4 or said[:1] in "[("):
                place = words
            elif len(words) == 1:
                numbers += words
        elif any(map(str.isalpha, said)):
            names.append(view.name_at(start, end))
    if place is None and len(numbers) in (4, 5, 6):
        # A number before the corners counts the rows, a fraction behind them is a score.
        begin = 1 if len(numbers) == 6 or (len(numbers) == 5 and "." not in numbers[4].value) else 0
        place = numbers[begin : begin + 4]
    if place is None:
        return None
    span = view.span(match)
    opened = lead_start(view.text, span[0], by_line=True)
    candidate = view.candidate("row", len(place), place, names[0] if names else None, span, opened)
    return TextForm("rest", span, (candidate,))


def _read_named(match: re.Match[str], view: _Stretch) -> TextForm:
    name = view.name_at(*match.span("first"))
    if name is not None and kind_of(name.value) != "other":
        name = None
    return view.box(match.span("then"), name, match.end() - len(match[0].lstrip()), match.end())


def _attributes(match: re.Match[str], group: str, view: _Stretch) -> Values:
    found = _ATTRIBUTE.finditer(view.plain, *match.span(group))
    return {attribute[1]: view.value_at(*attribute.span(2)) for attribute in found}


def _item_form(values: Values, span: Span, name: TreeNode | None, view: _Stretch) -> TextForm | None:
    """Read an item whose keys stand outside of JSON."""
    item = understand(values) if values else None
    if item is None or not any(isinstance(place.value, list) for places in item.located.values() for place in places):
        return None
    return TextForm("rest", span, tuple(item_candidates(view.text, item, span, name)))


def _joined(values: TreeNode, more: TreeNode) -> TreeNode:
    """Add an entry of a list that stands line by line."""
    listed = values.value if isinstance(values.value, list) else []
    return TreeNode(
        [*listed, *(more.value if isinstance(more.value, list) else [more])], (values.span[0], more.span[1])
    )


def _read_line(match: re.Match[str], view: _Stretch) -> TextForm:
    name = view.name_at(*match.span("line_name"), _AROUND_NAME + "\r.,;")
    return view.box(match.span("four"), name, match.end() - len(match[0].lstrip()), match.end())


def _read_corners(match: re.Match[str], view: _Stretch) -> TextForm:
    start = match.start()
    if not (view.name and _BETWEEN.fullmatch(view.plain, view.done, start)):
        start, view.name = _name_before(match, view, needs_colon=False)
    return view.box(match.span(), view.name, start, match.end())


def _read_list(match: re.Match[str], view: _Stretch) -> TextForm | None:
    start, name = match.start(), view.name_at(*match.span("list_name"))
    numbers_end = match.end() if match["list_name"] is None else match.start("list_name")
    if not name:
        start, name = _name_before(match, view, needs_colon=True)
    if (match["round"] is not None and start == match.start()) or (name is not None and is_measure(name.value)):
        # Four numbers in round brackets, or of a colour, may be anything.
        return None
    return view.box((match.start(), numbers_end), name, start, match.end())


def _name_before(match: re.Match[str], view: _Stretch, *, needs_colon: bool) -> tuple[int, TreeNode | None]:
    """Find the name that stands before coordinates without a sign between; ends where they begin."""
    begin = max(view.done, match.start() - _LONGEST_NAME)
    before = view.plain[begin : match.start()]
    marked = _MARKED_NAME.search(before)
    if marked:
        start, name = marked.start(), view.name_at(begin + marked.start(2), begin + marked.end(2), _AROUND_NAME + ":")
    else:
        found = _NAME.search(before)
        if not found or _SENTENCE.search(found[1]):
            return match.start(), None
        if needs_colon and not found[2] and not _stands_alone(found, before, begin, view):
            return match.start(), None
        start, name = found.start(), view.name_at(begin + found.start(1), begin + found.end(1), _AROUND_NAME + "*_")
    bullet = _BEGINS_LINE.search(before, 0, start)
    start = bullet.start(1) if bullet else start
    # What the coordinates are called is no name of what is there.
    return begin + start, name if name is not None and kind_of(name.value) in ("other", "name") else None


def _stands_alone(name: re.Match[str], before: str, begin: int, view: _Stretch) -> bool:
    """Tell whether nothing but a bullet stands before a short name, in its line or since what was read last."""
    lead = before[: name.start()]
    if _BEGINS_LINE.search(lead):
        return True
    whole = begin == view.done or "\n" in lead
    return whole and not lead.rpartition("\n")[2].strip(" \t,;") and len(name[1].split()) <= _MOST_WORDS


_READ: dict[str, Callable[[re.Match[str], _Stretch], TextForm | None]] = {
    "element": _read_element,
    "action": _read_action,
    "block": _read_block,
    "row": _read_row,
    "wrapped": _read_wrapped,
    "spread": _read_spread,
    "named": _read_named,
    "tag": _read_tag,
    "ref": _read_ref,
    "box": _read_box,
    "line": _read_line,
    "corners": _read_corners,
    "list": _read_list,
}
