"""From the text of a reply to objects in image pixels, and a reason for every piece refused.

Read: JSON items anywhere in the text (fenced, bare, alone, nested, wrapped, cut off), and outside
of JSON what `replies/text_forms.py` lists. Every item is judged alone. Corners in any order describe the
same rectangle and are put in order; a box partly outside is clipped; no area, wholly outside, not
finite, wrong count and exact repeats are refused. No text raises. See docs/answers.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from vlm_perception.replies.candidates import Candidate, json_candidates
from vlm_perception.replies.coordinates import image_scale
from vlm_perception.replies.json_scanner import Found, ReplyScanner
from vlm_perception.replies.prose import count_of, prose_between
from vlm_perception.replies.text_forms import Piece, Span, text_pieces
from vlm_perception.replies.text_lines import safe_end
from vlm_perception.replies.validation import Judge
from vlm_perception.types import WH, CoordinateFrame, DetectedObject, ParsedAnswer

__all__ = ["AnswerReader", "count_of", "parse_answer"]


def parse_answer(text: str, *, model_wh: WH, image_wh: WH, coordinates: CoordinateFrame = "absolute") -> ParsedAnswer:
    """Read a reply. Never raises on any text; takes time linear in its length.

    Args:
        text: The reply, whole or cut off anywhere.
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.

    Returns:
        Objects in image pixels in the order they end in the text, each with its `span` in it;
        rejects with a reason and a span each, in the order they begin; the prose outside of both.
        An object the model gave no name has an empty label.

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
    returns, and stays as it is. Time is linear in the text, whatever the chunks.

    Args:
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.

    Raises:
        GeometryError: As for `parse_answer`.
    """

    def __init__(self, *, model_wh: WH, image_wh: WH, coordinates: CoordinateFrame = "absolute") -> None:
        self._judge = Judge(image_wh, image_scale(model_wh, image_wh, coordinates))
        self._scanner = ReplyScanner()
        self._read_to = 0
        self._looked_to = 0
        self._taken: list[Span] = []
        self._said: list[str] = []
        self._ref: Piece | None = None
        self._unnamed: list[Piece] = []

    def feed(self, chunk: str) -> tuple[DetectedObject, ...]:
        """Take more of the reply and return the objects that became complete with it.

        Args:
            chunk: What comes next, of any length.
        """
        known = len(self._judge.objects)
        for found in self._scanner.feed(chunk):
            self._read(found)
        self._read_lines()
        return tuple(self._judge.objects[known:])

    def finish(self) -> ParsedAnswer:
        """End the reply and return all of it."""
        for found in self._scanner.finish():
            self._read(found)
        text = self._scanner.text
        prose = prose_between(text, _merged(self._taken))
        return ParsedAnswer(
            tuple(self._judge.objects),
            tuple(sorted(self._judge.rejects, key=lambda reject: reject.span)),
            "\n".join(part for part in (prose, *self._said) if part),
        )

    def _read(self, found: Found) -> None:
        span = (found.start, found.end)
        if found.kind == "text":
            self._read_text(*span)
            return
        self._take(span)
        if found.kind == "broken":
            self._judge.reject(found.reason, span, self._scanner.text)
        elif found.kind == "item":
            self._accept(json_candidates(found.values, span))
        else:
            # A wrapper may say something beside its items, such as their count.
            for key, value in found.values.items():
                if isinstance(value, (str, int, float)):
                    self._said.append(f"{key}: {value}")

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
        for piece in text_pieces(self._scanner.text, max(start, self._read_to), end):
            if piece.kind == "ref":
                self._read_name(piece)
            elif piece.kind == "box":
                self._read_box(piece, self._ref)
            else:
                self._name_boxes("")
                self._take(piece.span)
                if piece.reason:
                    self._judge.reject(piece.reason, piece.span, self._scanner.text)
                self._accept(piece.candidates)
        # A name after its box stands in the same line.
        self._name_boxes("")
        self._read_to = max(self._read_to, end)

    def _read_name(self, ref: Piece) -> None:
        """Give a name to the boxes right before it, or keep it for those to come."""
        self._let_go_of_boxes_apart_from(ref)
        if self._unnamed:
            self._take(ref.span)
            self._name_boxes(ref.name)
        else:
            self._ref = ref

    def _read_box(self, box: Piece, ref: Piece | None) -> None:
        if ref is None:
            self._let_go_of_boxes_apart_from(box)
            self._unnamed.append(box)
            return
        self._take(ref.span)
        self._take(box.span)
        joined = len(box.candidates) == 1 and ref.span[1] == box.span[0]
        for part, candidate in enumerate(box.candidates):
            span = (ref.span[0], box.span[1]) if joined else candidate.span
            self._judge.accept(candidate._replace(label=ref.name, span=span), part, self._scanner.text)

    def _let_go_of_boxes_apart_from(self, piece: Piece) -> None:
        """A name after boxes stands right behind them, and they stand right behind each other."""
        if self._unnamed and self._scanner.text[self._unnamed[-1].span[1] : piece.span[0]].strip(" ,;"):
            self._name_boxes("")

    def _name_boxes(self, name: str) -> None:
        for box in self._unnamed:
            self._take(box.span)
            self._accept(candidate._replace(label=name) for candidate in box.candidates)
        self._unnamed.clear()

    def _accept(self, candidates: Iterable[Candidate]) -> None:
        for part, candidate in enumerate(candidates):
            self._judge.accept(candidate, part, self._scanner.text)

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
