"""The rows of the levels: what is asked, that a right answer passes the whole data path, and that a wrong one fails."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine

from benchmarks.asked_node import Published
from benchmarks.level_answers import IMAGE_WH, Asked, Heard, Wanted, named_in, verdict_of, way_of
from benchmarks.level_questions import ROWS, STEP_S, Row, Shown
from benchmarks.levels import FIRST_SEED, heard, with_surest
from training.replies import Expected, in_chinese, render_reply
from training.watching import sentence
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.replies.result_json import result_fields
from vlm_perception.ros.outputs.result_messages import detections_message
from vlm_perception.types import Clip, Frame, FrameHeader, Request, Task

ANYTHING, UNASKED = "red circle", "thing"
CASES = [
    pytest.param(row, chinese, id=f"{row.name}, {'zh' if chinese else 'en'}") for row in ROWS for chinese in (0, 1)
]
_TURNED = {"left": "right", "right": "up", "up": "down", "down": "left"}


@functools.cache
def first_question(row: Row, chinese: bool) -> tuple[Shown, Asked]:
    made = (row.question(seed, chinese=chinese) for seed in itertools.count(FIRST_SEED))
    return next(question for question in made if question is not None)


def reply_to(asked: Asked) -> str:
    """What a model writes that knows what is right."""
    if asked.happenings is not None:
        return "\n".join(sentence(one, chinese=asked.chinese) for one in asked.happenings)
    if asked.verdict is not None:
        words = ("有，在这里。", "没有。") if asked.chinese else ("Yes, there is one.", "No, there is none.")
        return words[0 if asked.verdict else 1]
    if asked.named is not None:
        return "、".join(map(in_chinese, asked.named)) if asked.chinese else f"I see a {', a '.join(asked.named)}."
    boxes = asked.boxes or ()
    if any("|" in one.text for one in boxes):
        return "\n".join(map(table, boxes))
    patterns = {True: "striped", False: "plain", None: None}
    expected = Expected(
        boxes=tuple((one.label or UNASKED, whole(one.xyxy), patterns[one.striped]) for one in boxes if not one.text),
        points=tuple((UNASKED, round(x), round(y)) for x, y in asked.points or ()),
        texts=tuple((one.text, whole(one.xyxy)) for one in boxes if one.text),
        count=asked.count,
        count_noun=UNASKED,
    )
    return render_reply(expected, chinese=False)


def table(one: Wanted) -> str:
    lines = [line.split(" | ") for line in one.text.split("\n")]
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in lines)
    box = " ".join(map(str, whole(one.xyxy)))
    return f'```html\n<html><body>\n<table data-bbox="{box}">{rows}</table>\n</body></html>\n```'


def whole(xyxy: tuple[float, ...]) -> tuple[int, int, int, int]:
    left, top, right, bottom = map(round, xyxy)
    return left, top, right, bottom


def answered(shown: Shown, asked: Asked, reply: str) -> Heard:
    """What the node would publish about such a reply: through the real prompt builder, reader and messages."""
    stamps = [
        FrameHeader(*divmod(round(number * STEP_S * 1e9), 10**9), "camera") for number in range(len(shown.frames))
    ]
    frames = tuple(Frame(rgb, stamp, "/image", 0.0) for rgb, stamp in zip(shown.frames, stamps, strict=True))
    clip = Clip(frames, tuple(number * STEP_S for number in range(len(frames)))) if len(frames) > 1 else None
    request = Request(frames[-1], build_prompt(asked.prompt), clip=clip)
    result = perceive(ScriptedEngine(reply), request)
    return heard(Published(detections_message(result), result_fields(result)))


@pytest.mark.parametrize(("row", "chinese"), CASES)
def test_a_right_answer_has_no_faults(row: Row, chinese: bool) -> None:
    shown, asked = first_question(row, chinese)
    assert bool(re.search("[\u4e00-\u9fff]", asked.prompt)) == bool(chinese)
    assert asked.faults(answered(shown, asked, reply_to(asked))) == []


@pytest.mark.parametrize(("row", "chinese"), CASES)
def test_nothing_is_right_only_where_there_is_nothing(row: Row, chinese: bool) -> None:
    shown, asked = first_question(row, chinese)
    assert (asked.faults(answered(shown, asked, "[]")) == []) == (asked.boxes == ())


def moved(one: Wanted) -> Wanted:
    left, top, right, bottom = one.xyxy
    by = (right - left) * (0.6 if left < IMAGE_WH[0] / 2 else -0.6)
    return replace(one, xyxy=(left + by, top, right + by, bottom))


def another(label: str) -> str:
    """The same kind in another colour."""
    colour = "green" if not label.startswith("green") else "blue"
    return f"{colour} {label.split()[1]}" if label.isascii() else ("绿" if label[0] != "绿" else "蓝") + label[1:]


def over(field: str, change: Callable[[Any], Any]) -> Callable[[Asked], Asked]:
    """Change what is right of one kind, where a question asks for that."""

    def changed(asked: Asked) -> Asked:
        value = getattr(asked, field)
        return asked if value is None else replace(asked, **{field: change(value)})

    return changed


def each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda items: tuple(change(item) for item in items)


WRONG: dict[str, Callable[[Asked], Asked]] = {
    "boxes elsewhere": over("boxes", each(moved)),
    "one box less": over("boxes", lambda boxes: boxes[1:]),
    "one box more": over("boxes", lambda boxes: (*boxes, Wanted((5.0, 5.0, 60.0, 60.0), ANYTHING, False, "Q" * 7))),
    "other names": over("boxes", each(lambda one: replace(one, label=one.label and another(one.label)))),
    "other patterns": over(
        "boxes", each(lambda one: one if one.striped is None else replace(one, striped=not one.striped))
    ),
    "other letters": over("boxes", each(lambda one: replace(one, text=one.text and one.text[::-1] + "Z"))),
    "points elsewhere": over("points", each(lambda xy: (xy[0], xy[1] + 40.0))),
    "one point less": over("points", lambda points: points[1:]),
    "one point more": over("points", lambda points: (*points, (5.0, 5.0))),
    "another number": over("count", lambda number: number + 1),
    "another time": over(
        "happenings", each(lambda one: replace(one, start_s=one.start_s - 0.2, end_s=one.end_s - 0.8))
    ),
    "one event more": over(
        "happenings", lambda told: (*told, replace(told[0], start_s=0.0, end_s=3.5, label=ANYTHING))
    ),
    "the other verdict": over("verdict", lambda verdict: not verdict),
    "one thing less": over("named", lambda named: named[1:]),
    "one thing more": over(
        "named", lambda named: (*named, next(n for n in ("red cart", "blue cart") if n not in named))
    ),
}
WRONG_WHERE_TOLD = {
    "another way": over("happenings", each(lambda one: replace(one, direction=_TURNED[one.direction]))),
    "another thing": over("happenings", each(lambda one: replace(one, label=another(one.label)))),
}


@pytest.mark.parametrize("name", WRONG | WRONG_WHERE_TOLD)
def test_a_wrong_answer_has_faults(name: str) -> None:
    asked_of = 0
    for row, chinese in itertools.product(ROWS, (False, True)):
        shown, asked = first_question(row, chinese)
        if name in WRONG_WHERE_TOLD and not asked.told:
            continue
        wrong = (WRONG | WRONG_WHERE_TOLD)[name](asked)
        if wrong != asked:
            asked_of += 1
            assert asked.faults(answered(shown, asked, reply_to(wrong))) != [], (row.name, wrong)
    assert asked_of >= 2


def test_every_row_is_asked_of_what_is_there() -> None:
    for row, chinese in itertools.product(ROWS, (False, True)):
        shown, asked = first_question(row, chinese)
        there = {truth.xyxy for truth in (*shown.objects, *shown.shadows)}
        there |= {truth.text[1] for truth in shown.objects if truth.text}
        assert {one.xyxy for one in asked.boxes or ()} <= there
        assert set(asked.points or ()) <= {(x, y) for truth in shown.objects for _, x, y in truth.points}
        assert len({row.name for row in ROWS}) == len(ROWS)


def test_a_prompt_that_is_taken_for_another_task_is_a_fault() -> None:
    asked = Asked("carts", Task.DETECT, ())
    assert asked.faults(Heard("detect")) == []
    assert asked.faults(Heard("count")) == ["taken for count"]


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("it moves to the right", "right"),
        ("it left to the right", "right"),
        ("it slides from left to right", "right"),
        ("the cart enters from the left", "right"),
        ("it moves upward", "up"),
        ("it moves down", "down"),
        ("it comes from the top", "down"),
        ("小车从左边进入", "right"),
        ("小车向上移动", "up"),
        ("the cart left", None),
    ],
)
def test_which_way(text: str, way: str | None) -> None:
    assert way_of(text) == way


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes, there is.", True),
        ("no", False),
        ("有，", True),
        ("没有", False),
        ("不是。", False),
        ("Nothing here", None),
    ],
)
def test_yes_and_no(text: str, verdict: bool | None) -> None:
    assert verdict_of(text) is verdict


def test_names_in_words() -> None:
    assert named_in("A striped red cart and two blue circles.", chinese=False) == {"red cart", "blue circle"}
    assert named_in("一个红色的小车", chinese=True) == {"red cart"}


def test_the_surest_scene_of_what_is_mostly_right_is_kept() -> None:
    known = {"row": {"English": 1, "Chinese": 2}, "lost": {"English": 3}, "not asked": {"English": 4}}
    figures = [
        {"row": "row", "language": "English", "asked": 2, "right": {7: 0.4}},
        {"row": "new", "language": "English", "asked": 2, "right": {8: 0.4, 9: 0.6}},
        {"row": "lost", "language": "English", "asked": 3, "right": {3: 0.9}},
    ]
    kept = {"row": {"English": 7, "Chinese": 2}, "new": {"English": 9}, "not asked": {"English": 4}}
    assert with_surest(known, figures) == kept
