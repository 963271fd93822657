"""Replies to a wish for text: spotted lines in JSON, or the blocks of a document in HTML, whichever the model chose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from vlm_perception.replies.documents import HTML_TAGS, DocumentReader
from vlm_perception.replies.keys import folded
from vlm_perception.replies.labels import matching_phrase
from vlm_perception.replies.reader import AnswerReader
from vlm_perception.replies.sections import SectionSplitter
from vlm_perception.types import WH, CoordinateFrame, DetectedObject, ParsedAnswer

LINE = "line"
# `class_id` of a text where no one thing was asked for.
ANY_TEXT = "text"
_FORM = re.compile(rf"[{{｛]|<(?P<html>{HTML_TAGS})[\s>]", re.IGNORECASE)
_LONGEST_SIGN = 12
# Beside a label, in this order.
_TEXT_KEYS = ("textcontent", "text", "content", "transcription", "ocrtext", "ocr", "value", "文字", "文本", "内容")


class TextReader:
    """Reads the reply to a `read` prompt while it is written; used like `AnswerReader`.

    The first sign of either form chooses how the reply is read. A spotted line is an object of the kind `line`: its
    `text` is what `text_content` says, or else its only name, and its label the phrase that was asked for.

    Args:
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.
        targets: Phrases that were asked for; none for all text.

    Raises:
        GeometryError: As for `AnswerReader`.
    """

    def __init__(
        self,
        *,
        model_wh: WH,
        image_wh: WH,
        coordinates: CoordinateFrame = "absolute",
        targets: Sequence[str] = (),
    ) -> None:
        self._targets = targets
        self._sizes = (model_wh, image_wh, coordinates)
        self._splitter = SectionSplitter()
        self._chosen: AnswerReader | DocumentReader | None = None
        # The end of what is its answer, until the form is known.
        self._answer_end = ""
        # A wrong size is told at once.
        self._reader()

    def _reader(self, *, is_document: bool = False) -> AnswerReader | DocumentReader:
        model_wh, image_wh, coordinates = self._sizes
        kind = DocumentReader if is_document else AnswerReader
        return kind(model_wh=model_wh, image_wh=image_wh, coordinates=coordinates)

    @property
    def text(self) -> str:
        """The reply so far."""
        return self._splitter.text

    @property
    def told(self) -> int:
        """How many objects stand; see `AnswerReader.told`."""
        return self._chosen.told if self._chosen is not None else 0

    def feed(self, chunk: str) -> tuple[DetectedObject, ...]:
        """Take more of the reply and return the lines or blocks that became complete with it.

        Args:
            chunk: What comes next, of any length.
        """
        form: re.Match[str] | None = None
        for kind, text in self._splitter.feed(chunk):
            if kind == "forget":
                self._chosen, self._answer_end, form = None, "", None
            elif kind == "answer" and self._chosen is None and form is None:
                form = _FORM.search(self._answer_end + text)
                self._answer_end = (self._answer_end + text)[-_LONGEST_SIGN:]
        if self._chosen is None:
            if form is None:
                return ()
            self._chosen, chunk = self._reader(is_document=form["html"] is not None), self._splitter.text
        return self._as_texts(self._chosen.feed(chunk))

    def finish(self) -> ParsedAnswer:
        """End the reply and return all of it."""
        if self._chosen is None:
            self._chosen = self._reader()
            self._chosen.feed(self._splitter.text)
        parsed = self._chosen.finish()
        return replace(parsed, objects=self._as_texts(parsed.objects))

    def _as_texts(self, objects: Sequence[DetectedObject]) -> tuple[DetectedObject, ...]:
        return tuple(found if found.kind else as_line(found, self._targets) for found in objects)


def as_line(found: DetectedObject, targets: Sequence[str]) -> DetectedObject:
    """Take what was read as an object's name for its text.

    Args:
        found: As an `AnswerReader` reads it.
        targets: Phrases that were asked for.

    Returns:
        The object with its text. An item that has a text beside its label keeps its label; so does one that was found
        and not read, whose only name is what was asked for.
    """
    beside = {folded(key): key for key in found.attributes}
    key = next((beside[name] for name in _TEXT_KEYS if name in beside), None)
    unnamed = "" if len(targets) == 1 else ANY_TEXT
    if key is not None:
        rest = {name: value for name, value in found.attributes.items() if name != key}
        return replace(found, label=found.label or unnamed, text=found.attributes[key], attributes=rest, kind=LINE)
    if not found.label or matching_phrase(found.label, targets) is not None:
        return replace(found, label=found.label or unnamed, kind=LINE)
    evidence = replace(found.evidence, label=(), text=found.evidence.label)
    return replace(found, label=unnamed, text=found.label, evidence=evidence, kind=LINE)
