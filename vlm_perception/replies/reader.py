"""From the text of a reply to objects in image pixels, and a reason for every piece refused.

Read: JSON items anywhere in the text (fenced, bare, alone, nested, wrapped, cut off), and outside
of JSON what `replies/text_forms.py` lists. Every item is validated alone. Corners in any order describe the
same rectangle and are put in order; a box partly outside is clipped; no area, wholly outside, not
finite, wrong count and exact repeats are refused. No text raises. See docs/answers.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from vlm_perception.replies.candidates import Candidate, lead_start
from vlm_perception.replies.coordinates import image_scale
from vlm_perception.replies.encoded import FILLER, StringDecoder
from vlm_perception.replies.items import item_candidates
from vlm_perception.replies.json_scanner import JsonScanner, Segment
from vlm_perception.replies.lenient_json import TreeNode
from vlm_perception.replies.sections import ENDS_THINKING, ReplySection, SectionSplitter, without_tags
from vlm_perception.replies.text_cut import safe_end
from vlm_perception.replies.text_forms import TextForm, text_forms
from vlm_perception.replies.validation import Validator
from vlm_perception.types import WH, CoordinateFrame, DetectedObject, ParsedAnswer, Span

_LANGUAGES = "jsonc?|yaml|yml|xml|html|csv|markdown|md|text|txt|plaintext|python"
# A fence, and the word behind one whose signs were lost; tokens of the chat format.
_CHAT_TOKEN = r"<\|[a-z_]{1,24}\|>"
_FENCE = re.compile(
    r"(?:`{3}|~{3}|'{3})[a-zA-Z]*"
    rf"|^[ \t]*(?:{_CHAT_TOKEN})?[`'~]{{0,2}}(?i:{_LANGUAGES})[ \t]*(?=\n|\Z)|{_CHAT_TOKEN}",
    re.MULTILINE,
)
_LOST_FENCE = re.compile(rf"\s*(?:(?i:{_LANGUAGES})[ \t]*\n)?(?P<body>.*?)\n?```\s*", re.DOTALL)
_EMPTY_LIST = re.compile(r"[\[［]\s*[\]］]")
_LIST_SIGNS = re.compile(r"[\[\],\s［］，]{2,}")
_BEHIND_OBJECT = "],］， \t\r\n"
_BEFORE_OBJECT = "[,［， \t\r\n"


def parse_answer(text: str, *, model_wh: WH, image_wh: WH, coordinates: CoordinateFrame = "absolute") -> ParsedAnswer:
    """Read a reply. Never raises on any text; takes time linear in its length.

    Args:
        text: The reply, whole or cut off anywhere.
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.

    Returns:
        Objects in image pixels in the order they end in the text, each with its `span` in it;
        rejects with a reason and a span each, in the order they begin; the prose outside of both; and
        the thinking, of which nothing is an object. An object the model gave no name has an empty label.

    Raises:
        GeometryError: A side of `model_wh` or `image_wh` is not positive, or `coordinates` is
            neither frame.
    """
    reader = AnswerReader(model_wh=model_wh, image_wh=image_wh, coordinates=coordinates)
    reader.feed(text)
    return reader.finish()


class AnswerReader:
    """Reads a reply while it is written; gives what `parse_answer` gives, however it is cut.

    JSON items are read with their closing brace, lines with their line end, and tags and boxes in
    text with the line they are in. What `feed` returned is the beginning of what `finish`
    returns, and stays as it is, unless a `</think>` or `<answer>` tells that it was thinking: see `told`.
    Time is linear in the text, whatever the chunks.

    Args:
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.

    Raises:
        GeometryError: As for `parse_answer`.
    """

    def __init__(self, *, model_wh: WH, image_wh: WH, coordinates: CoordinateFrame = "absolute") -> None:
        self._image_wh, self._scale = image_wh, image_scale(model_wh, image_wh, coordinates)
        self._validator = Validator(self._image_wh, self._scale)
        self._splitter, self._decoder, self._scanner = SectionSplitter(), StringDecoder(), JsonScanner()
        self._apart: list[Span] = []
        self._read_to = 0
        self._looked_to = 0
        self._taken: list[Span] = []
        self._said: list[str] = []
        self._ref: TextForm | None = None
        self._unnamed: list[TextForm] = []

    @property
    def text(self) -> str:
        """The reply so far."""
        return self._splitter.text

    @property
    def told(self) -> int:
        """How many objects stand; fewer than `feed` returned where some of them turned out to be thought only."""
        return len(self._validator.objects)

    def feed(self, chunk: str) -> tuple[DetectedObject, ...]:
        """Take more of the reply and return the objects that became complete with it.

        Args:
            chunk: What comes next, of any length.
        """
        return self._pass(self._splitter.feed(chunk))

    def finish(self) -> ParsedAnswer:
        """End the reply and return all of it."""
        self._pass(self._splitter.finish())
        self._end_part()
        prose = _prose_between(self._scanner.text, _merged(self._taken + self._apart)).replace(FILLER, "")
        return ParsedAnswer(
            tuple(self._validator.objects),
            tuple(sorted(self._validator.rejects, key=lambda reject: reject.span)),
            "\n".join(part for part in (prose, *self._said) if part),
            without_tags("".join(self.text[slice(*span)] for span in self._apart)),
            self._validator.remarks + ((ENDS_THINKING,) if self._splitter.is_thinking else ()),
        )

    def _pass(self, sections: Iterable[ReplySection]) -> tuple[DetectedObject, ...]:
        validator, known = self._validator, len(self._validator.objects)
        for kind, text in sections:
            if kind == "answer":
                for segment in self._scanner.feed(self._decoder.feed(text)):
                    self._read(segment)
                self._read_lines()
                continue
            if not text:
                continue
            self._end_part()
            start = len(self._scanner.text)
            self._scanner.skip(len(text))
            if kind == "forget":
                self._forget()
                start = 0
            self._apart.append((start, len(self._scanner.text)))
        return tuple(self._validator.objects[known if self._validator is validator else 0 :])

    def _end_part(self) -> None:
        for segment in (*self._scanner.feed(self._decoder.finish()), *self._scanner.finish()):
            self._read(segment)
        self._ref = None

    def _forget(self) -> None:
        """Drop what was read so far."""
        self._validator = Validator(self._image_wh, self._scale)
        for kept in (self._taken, self._said, self._apart, self._unnamed):
            kept.clear()

    def _read(self, segment: Segment) -> None:
        if segment.kind == "text":
            self._read_text(*segment.span)
            return
        self._take(segment.span)
        if segment.kind == "broken":
            self._validator.reject(segment.reason, segment.span, self.text)
        elif segment.candidate is not None:
            self._accept([segment.candidate])
        elif segment.item is not None:
            self._accept(item_candidates(self._scanner.text, segment.item, segment.span, segment.around))
        else:
            # A wrapper may say something beside its items, such as their count.
            for key, node in segment.values.items():
                if isinstance(node.value, (str, int, float)):
                    self._said.append(f"{key}: {node.value}")

    def _read_lines(self) -> None:
        """Read the lines that are whole at the end of the text so far."""
        tail = self._scanner.tail
        if tail is None:
            return
        start, end = max(tail[0], self._read_to), tail[1]
        if self._scanner.text.find("\n", max(start, self._looked_to), end) >= 0:
            self._read_text(start, safe_end(self._scanner.text, start, end))
        self._looked_to = end

    def _read_text(self, start: int, end: int) -> None:
        for form in text_forms(self._scanner.text, max(start, self._read_to), end):
            if form.kind == "ref":
                self._read_name(form)
            elif form.kind == "box":
                self._read_box(form, self._ref)
            else:
                self._name_boxes(None)
                self._take(form.span)
                if form.reason:
                    self._validator.reject(form.reason, form.span, self.text)
                self._accept(form.candidates)
        # A name after its box stands in the same line.
        self._name_boxes(None)
        self._read_to = max(self._read_to, end)

    def _read_name(self, ref: TextForm) -> None:
        """Give a name to the boxes right before it, or keep it for those to come."""
        self._let_go_of_boxes_apart_from(ref)
        if self._unnamed:
            self._take(ref.span)
            self._name_boxes(ref.name)
        else:
            self._ref = ref

    def _read_box(self, box: TextForm, ref: TextForm | None) -> None:
        if ref is None:
            self._let_go_of_boxes_apart_from(box)
            self._unnamed.append(box)
            return
        self._take(ref.span)
        self._take(box.span)
        named = [candidate.named(ref.name) for candidate in box.candidates]
        if len(named) == 1 and ref.span[1] == box.span[0]:
            evidence = named[0].evidence
            content = ref.name.span[0] if ref.name else evidence.begin[1]
            begin = (lead_start(self._scanner.text, ref.span[0], by_line=True), content)
            named = [named[0]._replace(span=(ref.span[0], box.span[1]), evidence=replace(evidence, begin=begin))]
        self._accept(named)

    def _let_go_of_boxes_apart_from(self, form: TextForm) -> None:
        """A name after boxes stands right behind them, and they stand right behind each other."""
        if self._unnamed and self._scanner.text[self._unnamed[-1].span[1] : form.span[0]].strip(" ,;"):
            self._name_boxes(None)

    def _name_boxes(self, name: TreeNode | None) -> None:
        for box in self._unnamed:
            self._take(box.span)
            self._accept(candidate.named(name) for candidate in box.candidates)
        self._unnamed.clear()

    def _accept(self, candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            self._validator.accept(candidate, self.text)

    def _take(self, span: Span) -> None:
        self._taken.append(span)


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _prose_between(text: str, taken: Sequence[Span]) -> str:
    """Return the words around the objects of a reply, without fences and list signs.

    Args:
        text: The whole reply.
        taken: Disjoint character ranges of its objects and rejects, rising.
    """
    if not taken and not _EMPTY_LIST.search(text):
        lost = _LOST_FENCE.fullmatch(text) if text.count("```") == 1 else None
        return (lost["body"] if lost else text).strip()
    prose, broken_line = "", False
    ends = [0, *(end for _, end in taken)]
    starts = [*(start for start, _ in taken), len(text)]
    for index, (begin, end) in enumerate(zip(ends, starts, strict=True)):
        gap = text[begin:end]
        if index and not gap.strip(_BEHIND_OBJECT):
            broken_line = broken_line or "\n" in gap
            continue
        gap = _LIST_SIGNS.sub(_without_empty_list, _FENCE.sub("\n", gap))
        kept = gap.lstrip(_BEHIND_OBJECT) if index else gap.lstrip()
        broken_line = broken_line or "\n" in gap[: len(gap) - len(kept)]
        kept = kept.rstrip(_BEFORE_OBJECT) if index < len(taken) else kept.rstrip()
        if any(character.isalnum() for character in kept):
            prose += ("\n" if broken_line else " ") + kept if prose else kept
            broken_line = "\n" in gap[len(gap.rstrip(_BEFORE_OBJECT)) :]
    return prose


def _without_empty_list(match: re.Match[str]) -> str:
    signs = match[0].replace("［", "[").replace("］", "]")
    opened = signs.find("[")
    return "\n" if 0 <= opened < signs.rfind("]") else match[0]
