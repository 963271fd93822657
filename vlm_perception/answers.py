"""From the text of a reply to objects in image pixels, and a reason for every piece refused.

Read: JSON items anywhere in the text (fenced, bare, alone, nested, wrapped, cut off), `<points>`
tags, `x1,y1,x2,y2 name` lines and bare `[x1, y1, x2, y2]`. Every item is judged alone. Corners in
any order describe the same rectangle and are put in order; a box partly outside is clipped; no
area, wholly outside, not finite, wrong count and exact repeats are refused. No text raises.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from vlm_perception.geometry import clip_xyxy, image_scale, order_corners, scale_xyxy
from vlm_perception.prose import count_of, prose_between
from vlm_perception.reply_forms import (
    BARE,
    LINE,
    TAG,
    Candidate,
    coordinate_ranges,
    json_candidates,
    line_candidates,
    tag_candidates,
)
from vlm_perception.reply_scanner import Found, ReplyScanner
from vlm_perception.types import WH, XY, CoordinateFrame, DetectedObject, ParsedAnswer, Reject

__all__ = ["AnswerReader", "coordinate_ranges", "count_of", "parse_answer"]

Span = tuple[int, int]


@dataclass(slots=True)
class _Reading:
    """What is known while one reply is read; `scale` is image pixels per model unit."""

    text: str
    image_wh: WH
    scale: XY
    objects: list[DetectedObject] = field(default_factory=list)
    rejects: list[tuple[int, Reject]] = field(default_factory=list)
    taken: list[Span] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)

    def reject(self, reason: str, span: Span) -> None:
        self.rejects.append((span[0], Reject(reason, self.text[slice(*span)], span)))


def parse_answer(text: str, *, model_wh: WH, image_wh: WH, coordinates: CoordinateFrame = "absolute") -> ParsedAnswer:
    """Read a reply. Never raises on any text; takes time linear in its length.

    Args:
        text: The reply, whole or cut off anywhere.
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.

    Returns:
        Objects in image pixels in the order they stand in the text, each with its `span` in it;
        rejects with a reason each, in that order too; the prose outside of both. An object the
        model gave no name has an empty label.

    Raises:
        GeometryError: A side of `model_wh` or `image_wh` is not positive.
    """
    reader = AnswerReader(model_wh=model_wh, image_wh=image_wh, coordinates=coordinates)
    reader.feed(text)
    return reader.finish()


class AnswerReader:
    """Reads a reply while it is written.

    Args:
        model_wh: Size of the image as the model saw it, pixels.
        image_wh: Size of the camera image, pixels.
        coordinates: "absolute" for pixels of the model's image, "relative_1000" for 0..1000.

    Raises:
        GeometryError: A side of `model_wh` or `image_wh` is not positive.
    """

    def __init__(self, *, model_wh: WH, image_wh: WH, coordinates: CoordinateFrame = "absolute") -> None:
        self._reading = _Reading("", image_wh, image_scale(model_wh, image_wh, coordinates))
        self._scanner = ReplyScanner()
        self._chunks: list[str] = []

    def feed(self, chunk: str) -> tuple[DetectedObject, ...]:
        """Take more of the reply and return the objects that became complete with it."""
        reading = self._reading
        known = len(reading.objects)
        self._chunks.append(chunk)
        found = self._scanner.feed(chunk)
        if found:
            reading.text = "".join(self._chunks)
            self._chunks = [reading.text]
        for piece in found:
            _read_json(reading, piece)
        return tuple(reading.objects[known:])

    def finish(self) -> ParsedAnswer:
        """End the reply and return all of it, equal to `parse_answer` of the whole text."""
        reading = self._reading
        reading.text = text = "".join(self._chunks)
        for found in self._scanner.finish():
            _read_json(reading, found)
        for match in _outside(reading, TAG):
            if match["cut"] is not None:
                reading.reject("cut off", match.span())
            else:
                _judge_all(reading, tag_candidates(match))
        for pattern in (LINE, BARE):
            for match in _outside(reading, pattern):
                _judge_all(reading, line_candidates(match))
        reading.rejects.sort(key=lambda placed: placed[0])
        prose = prose_between(text, _merged(reading.taken))
        return ParsedAnswer(
            tuple(sorted(reading.objects, key=lambda found: found.span)),
            tuple(reject for _, reject in reading.rejects),
            "\n".join(part for part in (prose, *reading.said) if part),
        )


def _read_json(reading: _Reading, found: Found) -> None:
    span = (found.start, found.end)
    reading.taken.append(span)
    if found.kind == "broken":
        reading.reject(found.reason, span)
    elif found.kind == "item":
        _judge_all(reading, json_candidates(found.values, span))
    else:
        # A wrapper may say something beside its items, such as their count.
        for key, value in found.values.items():
            if isinstance(value, (str, int, float)):
                reading.said.append(f"{key}: {value}")


def _outside(reading: _Reading, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """Match only where nothing was read yet, and take what matched."""
    taken = _merged(reading.taken)
    starts = [start for start, _ in taken]
    matches = []
    for match in pattern.finditer(reading.text):
        # The last piece that begins before the match ends is the only one that may reach into it.
        index = bisect_right(starts, match.end() - 1) - 1
        if index < 0 or taken[index][1] <= match.start():
            matches.append(match)
    reading.taken += [match.span() for match in matches]
    return matches


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _judge_all(reading: _Reading, candidates: Iterator[Candidate]) -> None:
    for part, candidate in enumerate(candidates):
        _judge(reading, candidate, part)


def _judge(reading: _Reading, candidate: Candidate, part: int) -> None:
    """Accept one box or point, or say why not; `part` is its number among those of its item."""
    numbers, reason = _finite_numbers(candidate)
    placed: tuple[float, ...] | None = None
    if not reason:
        place = _place_box if candidate.size == 4 else _place_point
        placed, reason = place(reading, numbers)
    if placed is None:
        reading.reject(reason, candidate.span)
        return
    identity = (candidate.label, placed, tuple(sorted(candidate.attributes.items())))
    if identity in reading.seen:
        reading.reject("exact repeat of an earlier object", candidate.span)
        return
    reading.seen.add(identity)
    reading.objects.append(
        DetectedObject(
            label=candidate.label,
            xyxy=(placed[0], placed[1], placed[2], placed[3]) if candidate.size == 4 else None,
            point_xy=(placed[0], placed[1]) if candidate.size == 2 else None,
            attributes=candidate.attributes,
            span=candidate.span,
            part=part,
        )
    )


def _finite_numbers(candidate: Candidate) -> tuple[tuple[float, ...], str]:
    key, value = candidate.key, candidate.value
    if value is None:
        return (), f"{key} is null"
    if not isinstance(value, list):
        return (), f"{key} is not a list"
    if len(value) != candidate.size:
        return (), f"{key} has {len(value)} numbers instead of {candidate.size}"
    if any(isinstance(part, bool) for part in value):
        return (), f"{key} holds something that is not a number"
    try:
        numbers = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return (), f"{key} holds something that is not a number"
    if not all(math.isfinite(number) for number in numbers):
        return (), f"{key} is not finite"
    return numbers, ""


def _place_box(reading: _Reading, numbers: tuple[float, ...]) -> tuple[tuple[float, ...] | None, str]:
    x1, y1, x2, y2 = numbers
    if x1 == x2 or y1 == y2:
        return None, "box has no area"
    scaled = scale_xyxy(order_corners((x1, y1, x2, y2)), reading.scale)
    return clip_xyxy(scaled, reading.image_wh), "box lies outside the image"


def _place_point(reading: _Reading, numbers: tuple[float, ...]) -> tuple[tuple[float, ...] | None, str]:
    x, y = numbers[0] * reading.scale[0], numbers[1] * reading.scale[1]
    inside = 0 <= x <= reading.image_wh[0] and 0 <= y <= reading.image_wh[1]
    return ((x, y) if inside else None), "point lies outside the image"
