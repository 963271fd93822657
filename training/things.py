"""The things of a scene as questions are asked about them and replies name them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.families import View
from training.replies import COLOURS_ZH, KINDS_ZH, OTHERS_ZH, Expected, in_chinese, reading_order, scaled_box, to_box
from vlm_perception.scenes import Truth
from vlm_perception.types import XYXY

_ANYTHING = "object"
_PATTERNS_ZH = {name: OTHERS_ZH[name] for name in ("plain", "striped")}
_NOUNS_ZH = KINDS_ZH | {_ANYTHING: "物体"}
# To the word that a label has.
_WORDS = {zh: word for word, zh in (_PATTERNS_ZH | COLOURS_ZH | _NOUNS_ZH).items()} | {"thing": _ANYTHING}


def _either(words: dict[str, str], *more: str) -> str:
    return "(" + "|".join((*words, *words.values(), *more)) + ")"


_NAME = re.compile(rf"(?:{_either(_PATTERNS_ZH)} ?)?(?:{_either(COLOURS_ZH)} ?)?{_either(_NOUNS_ZH, 'thing')}")


@dataclass(frozen=True, slots=True)
class Thing:
    """A truth as a reply sees it.

    Attributes:
        label: As `Truth.label`.
        box: Extent in the coordinates of the reply.
        attributes: As `Truth.attributes`.
        points: Name and place of its key points, in the coordinates of the reply.
        text: What is written on it and the box of that, in the coordinates of the reply.
        xyxy: Extent in image sides, sqrt(width * height), so that distances are what one sees.
    """

    label: str
    box: tuple[int, int, int, int]
    attributes: dict[str, str]
    points: tuple[tuple[str, int, int], ...]
    text: tuple[str, tuple[int, int, int, int]] | None
    xyxy: XYXY

    @property
    def colour(self) -> str:
        return self.label.split()[0]

    @property
    def kind(self) -> str:
        return self.label.split()[-1]

    @property
    def striped(self) -> bool:
        return self.attributes.get("pattern") == "striped"


def things_of(truths: Sequence[Truth], view: View) -> list[Thing]:
    """All things and shadows of a scene, in reading order."""
    sx, sy = view.reply_wh[0] / view.image_wh[0], view.reply_wh[1] / view.image_wh[1]
    side = math.sqrt(view.image_wh[0] * view.image_wh[1])
    things = [
        Thing(
            t.label,
            to_box(t, view.image_wh, view.reply_wh),
            t.attributes,
            tuple((name, round(x * sx), round(y * sy)) for name, x, y in t.points),
            None if t.text is None else (t.text[0], scaled_box(t.text[1], view.image_wh, view.reply_wh)),
            (t.xyxy[0] / side, t.xyxy[1] / side, t.xyxy[2] / side, t.xyxy[3] / side),
        )
        for t in truths
    ]
    return sorted(things, key=lambda t: reading_order(t.box, view.reply_wh[1] / view.grid_hw[0]))


def objects_of(things: list[Thing]) -> list[Thing]:
    """Those that are no shadows."""
    return [t for t in things if t.label != "shadow"]


def named(label: str, chinese: bool) -> str:
    """A label in the language of the question."""
    return in_chinese(label) if chinese else label


def named_in(text: str, objects: Sequence[Thing]) -> tuple[tuple[int, tuple[int, int, int, int] | None], ...]:
    """What a question names, as "striped blue square", "red objects", "小车": `Expected.names`."""
    found = []
    for match in _NAME.finditer(text):
        pattern, colour, kind = (_WORDS.get(word, word) for word in match.groups())
        if (pattern, colour, kind) != (None, None, _ANYTHING):
            fitting = (
                t.box
                for t in objects
                if pattern in (None, t.attributes["pattern"])
                and colour in (None, t.colour)
                and kind in (_ANYTHING, t.kind)
            )
            found.append((match.end(), next(fitting, None)))
    return tuple(found)


def boxes_of(things: list[Thing], chinese: bool, sub_label: bool = False) -> Expected:
    """What a right reply with the boxes of these things holds."""
    return Expected(
        boxes=tuple(
            (named(t.label, chinese), t.box, named(t.attributes["pattern"], chinese) if sub_label else None)
            for t in things
        )
    )
