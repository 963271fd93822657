"""Is a reply right? One reply against the truth of its scene, in camera pixels."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass

from training import grammar
from training.families import View
from training.questions import Question
from training.things import objects_of, things_of
from vlm_perception.replies.counting import count_of
from vlm_perception.replies.reader import parse_answer
from vlm_perception.replies.texts import TextReader
from vlm_perception.scenes import Scene
from vlm_perception.types import XYXY, DetectedObject
from vlm_perception.world.boxes import iou, match_boxes

POINT_TOLERANCE = 0.05
# Two boxes of one thing overlap by this much or more; things of a scene hide at most 30 % of each other.
DOUBLE_IOU = 0.4


@dataclass(frozen=True, slots=True)
class Judged:
    """What one reply got right.

    Attributes:
        json_valid: The reply holds one fenced list that `json.loads` accepts; None where words were asked for.
        box_hits: Per expected box, found at IoU >= 0.5.
        found_hits: Per box in the reply, matched.
        match_ious: IoU of the matches.
        labels_right: Per match, the label is the expected one.
        sub_labels_right: Per match of a described object, the sub_label is the expected one.
        rejected: For a question about an absent thing: nothing was answered. Else None.
        count_right: For a counting question: the number in the sentence is right. Else None.
        point_hits: Per expected point, found within 5 % of the image side.
        doubled: A box lies on an expected thing that a better one has taken.
        text_hits: Per expected text, read to the letter at IoU >= 0.5.
        verdict_right: Of a reply in words that begins with yes or no: it is the right one. Else None.
        words_right: Of a reply in words: it claims something, nothing false, and with the right verdict; where it has
            to name one thing or place, it says what is expected. Else None.
        described: Of a description: the share of things that it names or that are there which are both. Else None.
    """

    json_valid: bool | None
    box_hits: tuple[bool, ...]
    found_hits: tuple[bool, ...]
    match_ious: tuple[float, ...]
    labels_right: tuple[bool, ...]
    sub_labels_right: tuple[bool, ...]
    rejected: bool | None
    count_right: bool | None
    point_hits: tuple[bool, ...]
    doubled: bool = False
    text_hits: tuple[bool, ...] = ()
    verdict_right: bool | None = None
    words_right: bool | None = None
    described: float | None = None


def judge(question: Question, reply: str, scene: Scene, view: View) -> Judged:
    """Judge one reply; boxes are matched by IoU alone, labels are judged on the matches."""
    parsed = parse_answer(reply, model_wh=view.model_wh, image_wh=view.image_wh, coordinates=view.coordinates)
    expected = question.expected
    if expected.words:
        return _judged_words(question, parsed.text, scene, view)
    wanted = [(label, exact_box(box, scene, view), sub) for label, box, sub in expected.boxes]
    boxes = [o for o in parsed.objects if o.xyxy is not None]
    pairs = _match([box for _, box, _ in wanted], boxes)
    absent = not (expected.boxes or expected.points or expected.texts) and expected.count is None
    found = [item.xyxy for item in parsed.objects if item.xyxy is not None]
    free = [xyxy for place, xyxy in enumerate(found) if all(place != taken for taken, _ in pairs.values())]
    return Judged(
        json_valid=_is_json(reply),
        box_hits=tuple(index in pairs for index in range(len(wanted))),
        found_hits=tuple(any(found == k for found, _ in pairs.values()) for k in range(len(boxes))),
        match_ious=tuple(value for _, value in pairs.values()),
        labels_right=tuple(boxes[found].label == wanted[i][0] for i, (found, _) in pairs.items()),
        sub_labels_right=tuple(
            boxes[found].attributes.get("sub_label") == wanted[i][2]
            for i, (found, _) in pairs.items()
            if wanted[i][2] is not None
        ),
        rejected=not parsed.objects if absent else None,
        count_right=None if expected.count is None else count_of(parsed.text, parsed.objects) == expected.count,
        point_hits=_point_hits(question, parsed.objects, view),
        doubled=any(iou(xyxy, found[taken]) > DOUBLE_IOU for xyxy in free for taken, _ in pairs.values()),
        text_hits=_text_hits(question, reply, scene, view),
    )


def _judged_words(question: Question, text: str, scene: Scene, view: View) -> Judged:
    """Judge a reply in words by what it claims of the scene."""
    objects, expected = objects_of(things_of(scene.truths, view)), grammar.read(question.expected.words)
    said = grammar.read(text)
    right = said.verdict == expected.verdict and not grammar.false_claims(said, objects)
    right = right and bool(said.there or said.absent or said.relations)
    if question.task == "told" or not (expected.there or expected.absent or expected.relations):
        right = text == question.expected.words
    described = None
    if question.task == "describe":
        there = Counter((thing.label, thing.striped) for thing in objects)
        described = (said.there & there).total() / max(1, (said.there | there).total()) if there else float(right)
    verdict = None if expected.verdict is None else said.verdict == expected.verdict
    return Judged(None, (), (), (), (), (), None, None, (), False, (), verdict, right, described)


def _text_hits(question: Question, reply: str, scene: Scene, view: View) -> tuple[bool, ...]:
    """Read as the product reads the reply to a `read` prompt; the boxes of letters are small, so exact ones count."""
    if not question.expected.texts:
        return ()
    reader = TextReader(model_wh=view.model_wh, image_wh=view.image_wh, coordinates=view.coordinates)
    reader.feed(reply)
    lines = [(item.text, item.xyxy) for item in reader.finish().objects if item.xyxy is not None]
    truths = [truth.text for truth in scene.truths if truth.text is not None]
    sx, sy = (image / reply for image, reply in zip(view.image_wh, view.reply_wh, strict=True))
    hits = []
    for text, box in question.expected.texts:
        scaled = (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)
        _, exact = max(truths, key=lambda truth: iou(truth[1], scaled))
        hits.append(any(line == text and iou(xyxy, exact) >= 0.5 for line, xyxy in lines))
    return tuple(hits)


def exact_box(box: tuple[int, int, int, int], scene: Scene, view: View) -> XYXY:
    """The truth's own box in camera pixels, of which `box` is the rounded copy in a reply's coordinates."""
    sx, sy = (image / reply for image, reply in zip(view.image_wh, view.reply_wh, strict=True))
    scaled = (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)
    return max((truth.xyxy for truth in scene.truths), key=lambda xyxy: iou(xyxy, scaled))


def _match(wanted: list[XYXY], found: list[DetectedObject]) -> dict[int, tuple[int, float]]:
    """Best pairs first, at IoU >= 0.5: index in `wanted` -> (index in `found`, IoU)."""
    boxes = [item.xyxy for item in found if item.xyxy is not None]
    return {i: (k, overlap) for k, i, overlap in match_boxes(boxes, wanted) if overlap >= 0.5}


def _point_hits(question: Question, objects: tuple[DetectedObject, ...], view: View) -> tuple[bool, ...]:
    sx, sy = (image / reply for image, reply in zip(view.image_wh, view.reply_wh, strict=True))
    free = [o.point_xy for o in objects if o.point_xy is not None]
    side, hits = math.sqrt(view.image_wh[0] * view.image_wh[1]), []
    for _, x, y in question.expected.points:
        near = [p for p in free if math.dist(p, (x * sx, y * sy)) <= POINT_TOLERANCE * side]
        if near:
            free.remove(near[0])
        hits.append(bool(near))
    return tuple(hits)


def _is_json(reply: str) -> bool:
    block = re.search(r"```json\n(.*?)\n```", reply, re.DOTALL)
    if block is None:
        return False
    try:
        return isinstance(json.loads(block.group(1)), list)
    except ValueError:
        return False
