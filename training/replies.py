"""Replies in Qwen's own forms, rendered from the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from vlm_perception.scenes import Truth
from vlm_perception.scenes.clips import Happening
from vlm_perception.types import WH, XYXY

COLOURS_ZH = {"red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色"}
KINDS_ZH = {"circle": "圆形", "square": "方形", "triangle": "三角形", "cart": "小车", "face": "笑脸"}
OTHERS_ZH = {"shadow": "影子", "wheel": "轮子", "eye": "眼睛", "plain": "纯色", "striped": "条纹"}
_ZH = COLOURS_ZH | KINDS_ZH | OTHERS_ZH


def in_chinese(label: str) -> str:
    """Translate a label such as "red circle" word by word."""
    return "".join(_ZH[word] for word in label.split())


@dataclass(frozen=True, slots=True)
class Expected:
    """What a right reply holds, in the coordinates of the reply.

    Attributes:
        boxes: (label, xyxy, sub_label or None) in the order of the reply.
        points: (label, x, y) in the order of the reply.
        count: The number asked for, or None.
        texts: (what is written, xyxy of the letters) in the order of the reply.
        words: The whole reply, where it is a sentence; empty where it is a list.
        events: Start and end in seconds after the clip's first frame, and what it is, of a question "when"; `words` has
            them in the form of the reply.
        happenings: Of a clip: what `words` say that happened, in that order.
        mentions: Where in `words` a thing is named: first character, one past the last, and the thing's box.
        names: Of each name in the question, where it ends (one past its last character) and the box of the first such
            thing in reading order, or None where there is none.
    """

    boxes: tuple[tuple[str, tuple[int, int, int, int], str | None], ...] = ()
    points: tuple[tuple[str, int, int], ...] = ()
    count: int | None = None
    count_noun: str = field(default="", compare=False)
    texts: tuple[tuple[str, tuple[int, int, int, int]], ...] = ()
    words: str = ""
    events: tuple[tuple[float, float, str], ...] = ()
    happenings: tuple[Happening, ...] = field(default=(), compare=False)
    mentions: tuple[tuple[int, int, tuple[int, int, int, int]], ...] = ()
    names: tuple[tuple[int, tuple[int, int, int, int] | None], ...] = field(default=(), compare=False)


def to_box(truth: Truth, image_wh: WH, frame_wh: WH) -> tuple[int, int, int, int]:
    """Scale a truth's box to whole units of a frame (model pixels, thousandths), at least one unit wide and high."""
    return scaled_box(truth.xyxy, image_wh, frame_wh)


def scaled_box(xyxy: XYXY, image_wh: WH, frame_wh: WH) -> tuple[int, int, int, int]:
    """As `to_box`, of any box in image pixels."""
    sx, sy = frame_wh[0] / image_wh[0], frame_wh[1] / image_wh[1]
    left, top, right, bottom = xyxy
    x1, y1 = min(frame_wh[0] - 1, round(left * sx)), min(frame_wh[1] - 1, round(top * sy))
    x2, y2 = max(x1 + 1, min(frame_wh[0], round(right * sx))), max(y1 + 1, min(frame_wh[1], round(bottom * sy)))
    return x1, y1, x2, y2


def reading_order(box: tuple[int, int, int, int], row: float) -> tuple[int, float]:
    """Sort key: rows of image tokens from top to bottom, left to right inside a row.

    It is the order in which the decoder met the objects. `row` is the height of one, in the units of the box.
    """
    return int((box[1] + box[3]) / 2 // row), (box[0] + box[2]) / 2


def render_reply(expected: Expected, chinese: bool) -> str:
    """Write the reply as Qwen does: a fenced JSON list, and a sentence when counting; or words alone."""
    if expected.words:
        return expected.words
    items = [_box_item(*box) for box in expected.boxes]
    items += [f'{{"point_2d": [{x}, {y}], "label": {_quoted(label)}}}' for label, x, y in expected.points]
    items += [
        f'{{"bbox_2d": [{", ".join(map(str, box))}], "text_content": {_quoted(text)}}}' for text, box in expected.texts
    ]
    text = "```json\n[\n\t" + ",\n\t".join(items) + "\n]\n```" if items else "```json\n[]\n```"
    if expected.count is None:
        return text
    return f"{text}\n{_sentence(expected.count, expected.count_noun, chinese)}"


def _box_item(label: str, box: Sequence[int], sub_label: str | None) -> str:
    extra = f', "sub_label": {_quoted(sub_label)}' if sub_label is not None else ""
    return f'{{"bbox_2d": [{", ".join(map(str, box))}], "label": {_quoted(label)}{extra}}}'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _sentence(count: int, noun: str, chinese: bool) -> str:
    if chinese:
        return f"图中有{count}个{noun}。"
    return f"There is 1 {noun}." if count == 1 else f"There are {count} {noun}s."
