"""Is a reply right? One reply against the truth of its scene, in camera pixels."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from training.families import View
from training.questions import Question
from vlm_perception.replies.counting import count_of
from vlm_perception.replies.reader import parse_answer
from vlm_perception.scenes import Scene
from vlm_perception.scenes.matching import iou, match_boxes
from vlm_perception.types import XYXY, DetectedObject

POINT_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Judged:
    """What one reply got right.

    Attributes:
        json_valid: The reply holds one fenced list that `json.loads` accepts.
        box_hits: Per expected box, found at IoU >= 0.5.
        found_hits: Per box in the reply, matched.
        match_ious: IoU of the matches.
        labels_right: Per match, the label is the expected one.
        sub_labels_right: Per match of a described object, the sub_label is the expected one.
        rejected: For a question about an absent thing: nothing was answered. Else None.
        count_right: For a counting question: the number in the sentence is right. Else None.
        point_hits: Per expected point, found within 5 % of the image side.
    """

    json_valid: bool
    box_hits: tuple[bool, ...]
    found_hits: tuple[bool, ...]
    match_ious: tuple[float, ...]
    labels_right: tuple[bool, ...]
    sub_labels_right: tuple[bool, ...]
    rejected: bool | None
    count_right: bool | None
    point_hits: tuple[bool, ...]


def judge(question: Question, reply: str, scene: Scene, view: View) -> Judged:
    """Judge one reply; boxes are matched by IoU alone, labels are judged on the matches."""
    parsed = parse_answer(reply, model_wh=view.model_wh, image_wh=view.image_wh, coordinates=view.coordinates)
    expected = question.expected
    wanted = [(label, exact_box(box, scene, view), sub) for label, box, sub in expected.boxes]
    boxes = [o for o in parsed.objects if o.xyxy is not None]
    pairs = _match([box for _, box, _ in wanted], boxes)
    absent = not expected.boxes and not expected.points and expected.count is None
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
    )


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
