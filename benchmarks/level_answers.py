"""What is right about a question of the levels, and what is wrong with an answer to it.

Only what was asked for is judged: a thing that is found by its relation may be called anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from training.replies import in_chinese
from vlm_perception.replies.labels import matching_phrase
from vlm_perception.scenes import COLOURS, KINDS
from vlm_perception.scenes.clips import Direction, Happening
from vlm_perception.types import WH, XY, XYXY, Task
from vlm_perception.world.boxes import match_boxes

IMAGE_WH: WH = (640, 480)
POINT_TOLERANCE = 0.05
TIME_TOLERANCE_S = 0.5
MIN_IOU = 0.5
SIDE_PX = math.sqrt(IMAGE_WH[0] * IMAGE_WH[1])

_WAYS: dict[str, Direction] = {"left": "left", "right": "right", "up": "up", "down": "down", "top": "up"}
_WAYS |= {"upper": "up", "bottom": "down", "lower": "down", "左": "left", "右": "right", "上": "up", "下": "down"}
_OPPOSITE: dict[Direction, Direction] = {"left": "right", "right": "left", "up": "down", "down": "up"}
_WAY = "(" + "|".join(_WAYS) + ")"
# In this order: "left" is also what a thing did, and "from left to right" says two sides.
_TOWARDS = re.compile(rf"(?:\b(?:to|towards?|off)\s+(?:the\s+)?|[向往朝到]){_WAY}|{_WAY}wards?\b", re.IGNORECASE)
_FROM = re.compile(rf"(?:\bfrom\s+(?:the\s+)?|[从由自]){_WAY}", re.IGNORECASE)
_BARE = re.compile(rf"\b(?:moves?|goes|moving|moved|comes?|slides?)\s+{_WAY}\b", re.IGNORECASE)
_VERDICT = re.compile(r"\W*(?:(yes|有|是)|(no|没有|不是|没))(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Seen:
    """One published thing, image pixels; `sub_label` and `text` are empty where it has none."""

    label: str
    xyxy: XYXY | None = None
    point_xy: XY | None = None
    sub_label: str = ""
    text: str = ""

    @property
    def place_xy(self) -> XY:
        """Its point, or the middle of its box."""
        if self.xyxy is None:
            assert self.point_xy is not None
            return self.point_xy
        return (self.xyxy[0] + self.xyxy[2]) / 2, (self.xyxy[1] + self.xyxy[3]) / 2


@dataclass(frozen=True, slots=True)
class Heard:
    """What was published about one question.

    Attributes:
        task: What the prompt was taken for.
        seen: The things.
        count: The number, where one was asked for.
        count_agrees: Whether it is that of the things.
        events: Start and end, seconds after the first frame, and what is said of them.
        text: The words.
    """

    task: str
    seen: tuple[Seen, ...] = ()
    count: int | None = None
    count_agrees: bool | None = None
    events: tuple[tuple[float, float, str], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to be found.

    Attributes:
        xyxy: Where, image pixels.
        label: What it is to be called, in other words too; empty where the question does not say.
        striped: Whether its description is to say so; None where no description is asked for.
        text: What is written there; empty where nobody asks.
    """

    xyxy: XYXY
    label: str = ""
    striped: bool | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what is right.

    Attributes:
        prompt: What is typed.
        task: What it should be taken for.
        boxes: Each thing to be found, and no other; None where boxes are not the answer.
        points: Each place to be found, and no other; None likewise. A box around the place is as good.
        count: The number, where one is asked for.
        happenings: What happened, and nothing else; None where nobody asks.
        told: Whether the words are to say what moved which way, not only when.
        verdict: Yes or no, where that is asked.
        named: Labels that the words are to name, and no others; None where they need not.
        chinese: Whether it is asked in Chinese.
    """

    prompt: str
    task: Task
    boxes: tuple[Wanted, ...] | None = None
    points: tuple[XY, ...] | None = None
    count: int | None = None
    happenings: tuple[Happening, ...] | None = None
    told: bool = False
    verdict: bool | None = None
    named: tuple[str, ...] | None = None
    chinese: bool = False

    def faults(self, heard: Heard) -> list[str]:
        """Name everything that is wrong with an answer; empty when it is right."""
        faults = [] if heard.task == self.task.value else [f"taken for {heard.task}"]
        if self.boxes is not None:
            faults += _box_faults(self.boxes, heard.seen)
        if self.points is not None:
            faults += _point_faults(self.points, heard.seen)
        if heard.count != self.count:
            faults.append(f"counted {heard.count}, there are {self.count}")
        if self.count is not None and heard.count_agrees is not True:
            faults.append("the number does not agree with the things")
        if self.happenings is not None:
            faults += self._event_faults(self.happenings, heard.events)
        if self.verdict is not None and verdict_of(heard.text) != self.verdict:
            faults.append(f"says {heard.text[:60]!r}, right is {'yes' if self.verdict else 'no'}")
        if self.named is not None:
            faults += self._name_faults(self.named, heard.text)
        return faults

    def _event_faults(self, happenings: Sequence[Happening], events: Sequence[tuple[float, float, str]]) -> list[str]:
        faults = [] if len(events) == len(happenings) else [f"{len(events)} events, {len(happenings)} happened"]
        for one in happenings:
            in_time = [
                text for start_s, end_s, text in events if _near(start_s, one.start_s) and _near(end_s, one.end_s)
            ]
            if not in_time:
                faults.append(f"nothing told at {one.start_s:.1f} to {one.end_s:.1f} s")
            elif self.told and not any(self._tells(text, one) for text in in_time):
                faults.append(f"{one.label} {one.what} {one.direction} is told as {in_time[0][:60]!r}")
        return faults

    def _tells(self, text: str, one: Happening) -> bool:
        return one.label in named_in(text, chinese=self.chinese) and way_of(text) == one.direction

    def _name_faults(self, named: Sequence[str], text: str) -> list[str]:
        said = named_in(text, chinese=self.chinese)
        faults = [f"{label} is not named" for label in sorted(set(named) - said)]
        return faults + [f"there is no {label}" for label in sorted(said - set(named))]


def way_of(text: str) -> Direction | None:
    """Read which way something went: "to the right", "rightwards", "from the left"; None where nothing says."""
    if found := _TOWARDS.search(text):
        return _WAYS[(found[1] or found[2]).lower()]
    if found := _FROM.search(text):
        return _OPPOSITE[_WAYS[found[1].lower()]]
    found = _BARE.search(text)
    return _WAYS[found[1].lower()] if found else None


def verdict_of(text: str) -> bool | None:
    """Read yes or no from the first word."""
    found = _VERDICT.match(text)
    return bool(found[1]) if found else None


def named_in(text: str, *, chinese: bool) -> set[str]:
    """Labels of all that a text names."""
    text = text.replace("的", "").lower()
    labels = (f"{colour} {kind}" for colour in COLOURS for kind in KINDS)
    return {label for label in labels if (in_chinese(label) if chinese else label) in text}


def _box_faults(wanted: Sequence[Wanted], seen: Sequence[Seen]) -> list[str]:
    found = [(item, item.xyxy) for item in seen if item.xyxy is not None]
    pairs = match_boxes([box for _, box in found], [one.xyxy for one in wanted])
    faults = [] if len(seen) == len(wanted) else [f"{len(seen)} things, {len(wanted)} are right"]
    good = {j: found[i][0] for i, j, overlap in pairs if overlap >= MIN_IOU}
    for index, one in enumerate(wanted):
        item, name = good.get(index), one.label or one.text or "the thing"
        if item is None:
            faults.append(f"{name} at {tuple(map(round, one.xyxy))} is not found")
        elif one.label and matching_phrase(item.label, (one.label,)) is None:
            faults.append(f"{name} is called {item.label}")
        elif one.text and item.text.strip() != one.text:
            faults.append(f"{name} is read as {item.text!r}")
        elif one.striped is not None and not _describes(item.sub_label, striped=one.striped):
            faults.append(f"{'striped' if one.striped else 'plain'} {name} is described as {item.sub_label!r}")
    return faults


def _describes(words: str, *, striped: bool) -> bool:
    return bool(words) and ("strip" in words.lower() or "条纹" in words) == striped


def _point_faults(wanted: Sequence[XY], seen: Sequence[Seen]) -> list[str]:
    faults = [] if len(seen) == len(wanted) else [f"{len(seen)} places, {len(wanted)} are right"]
    left = [item.place_xy for item in seen]
    for place in wanted:
        nearest = min(left, key=lambda xy: math.dist(place, xy), default=None)
        if nearest is None or math.dist(place, nearest) > POINT_TOLERANCE * SIDE_PX:
            faults.append(f"nothing at {tuple(map(round, place))}")
        else:
            left.remove(nearest)
    return faults


def _near(a_s: float, b_s: float) -> bool:
    return abs(a_s - b_s) <= TIME_TOLERANCE_S + 1e-6
