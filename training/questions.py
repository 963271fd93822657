"""Questions about a scene and the right replies to them.

Every question goes through `vlm_perception.prompts.builder`, so the tiny model is trained on exactly the
instructions that the node sends, plus a few in the wording of Qwen's cookbook, sent as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.families import View
from training.replies import (
    COLOURS_ZH,
    KINDS_ZH,
    OTHERS_ZH,
    Expected,
    in_chinese,
    reading_order,
    render_reply,
    to_box,
)
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import COLOURS, KINDS, Truth

# How often each kind of question is asked.
TASK_WEIGHTS = {
    "all": 0.14,
    "label": 0.20,
    "kind": 0.08,
    "colour": 0.08,
    "pattern": 0.04,
    "two": 0.05,
    "describe_each": 0.07,
    "point": 0.10,
    "count": 0.13,
    "shadow": 0.11,
}
ABSENT_SHARE = 0.4
CHINESE_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one scene: the instruction, the reply and what makes a reply right."""

    task: str
    instruction: str
    reply: str
    expected: Expected
    chinese: bool


@dataclass(frozen=True, slots=True)
class _Thing:
    """A truth in the coordinates of the reply."""

    label: str
    box: tuple[int, int, int, int]
    attributes: dict[str, str]
    points: tuple[tuple[str, int, int], ...]

    @property
    def colour(self) -> str:
        return self.label.split()[0]

    @property
    def kind(self) -> str:
        return self.label.split()[-1]


class Asker:
    """Draws questions about scenes.

    Args:
        rng: Source of chance.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def ask(self, truths: Sequence[Truth], view: View, task: str | None = None) -> Question:
        """Ask one question about a scene.

        Args:
            truths: What is in the scene, in image pixels.
            view: How the model sees it.
            task: A key of `TASK_WEIGHTS`; None draws one. Falls back to "label" where the scene
                has nothing to ask about (no wheels, no shadow).
        """
        things = _things(truths, view)
        task = task or str(self._rng.choice(list(TASK_WEIGHTS), p=list(TASK_WEIGHTS.values())))
        chinese = bool(self._rng.random() < CHINESE_SHARE)
        makers: dict[str, Callable[[list[_Thing], bool], tuple[str, Expected] | None]] = {
            "all": self._all,
            "label": self._label,
            "kind": self._kind,
            "colour": self._colour,
            "pattern": self._pattern,
            "two": self._two,
            "describe_each": self._describe_each,
            "point": self._point,
            "count": self._count,
            "shadow": self._shadow,
        }
        made = makers[task](things, chinese)
        if made is None:
            task, made = "label", self._label(things, chinese)
        instruction, expected = made
        return Question(task, instruction, render_reply(expected, chinese), expected, chinese)

    def _one_of(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def _detect(self, what: str, plural: str, chinese: bool) -> str:
        """Instruction to find a thing, in one of several wordings."""
        if chinese:
            return self._one_of(
                (
                    build_prompt(f"找出{what}").instruction,
                    build_prompt(f"{what}在哪里？").instruction,
                    build_prompt(what).instruction,
                    f"检测图中所有的{what}，并以JSON格式输出其bbox坐标。",
                )
            )
        wordings = (what, f"the {what}", plural, f"every {what}", f"all {plural}", f"find the {what}", f"a {what}")
        if self._rng.random() < 0.85:
            return build_prompt(self._one_of(wordings)).instruction
        return self._one_of(
            (
                f"Outline the position of each {what} and output all the coordinates in JSON format.",
                f"Locate every instance of {what}. Report bbox coordinates in JSON format.",
            )
        )

    def _all(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        what, plural = ("所有物体", "") if chinese else ("object", "objects")
        return self._detect(what, plural, chinese), _boxes(_objects(things), chinese)

    def _label(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        label = self._pick_label(things)
        found = [t for t in _objects(things) if t.label == label]
        return self._detect(_named(label, chinese), label + "s", chinese), _boxes(found, chinese)

    def _pick_label(self, things: list[_Thing]) -> str:
        """A label that is there, or an absent one that shares the colour or the kind of a thing."""
        objects = _objects(things)
        present = {t.label for t in objects}
        if objects and self._rng.random() >= ABSENT_SHARE:
            return self._one_of(sorted(present))
        pool = [f"{c} {k}" for c in COLOURS for k in KINDS if f"{c} {k}" not in present]
        near = [p for p in pool if any(p.split()[0] == t.colour or p.split()[1] == t.kind for t in objects)]
        return self._one_of(near if near and self._rng.random() < 0.75 else pool)

    def _kind(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        kind = self._pick([t.kind for t in _objects(things)], KINDS)
        what = KINDS_ZH[kind] if chinese else kind
        return self._detect(what, kind + "s", chinese), _boxes([t for t in _objects(things) if t.kind == kind], chinese)

    def _colour(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        colour = self._pick([t.colour for t in _objects(things)], list(COLOURS))
        found = [t for t in _objects(things) if t.colour == colour]
        if chinese:
            return self._detect(f"{COLOURS_ZH[colour]}物体", "", True), _boxes(found, True)
        noun = self._one_of(("object", "thing"))
        return self._detect(f"{colour} {noun}", f"{colour} {noun}s", False), _boxes(found, False)

    def _pick(self, present: Sequence[str], every: Sequence[str]) -> str:
        if present and self._rng.random() < 0.85:
            return self._one_of(present)
        return self._one_of(every)

    def _pattern(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        found = [t for t in _objects(things) if t.attributes["pattern"] == "striped"]
        what = "条纹物体" if chinese else "striped object"
        return self._detect(what, "striped objects", chinese), _boxes(found, chinese)

    def _two(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        first = self._pick_label(things)
        second = self._pick_label(things)
        if first == second:
            return self._label(things, chinese)
        found = [t for t in _objects(things) if t.label in (first, second)]
        joint = "；" if chinese else "; "
        text = joint.join(_named(label, chinese) for label in (first, second))
        return build_prompt(text).instruction, _boxes(found, chinese)

    def _describe_each(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        objects = _objects(things)
        if self._rng.random() < 0.5:
            what = "每个物体" if chinese else self._one_of(("each object", "every object", "the objects"))
        else:
            label = self._pick_label(things)
            objects = [t for t in objects if t.label == label]
            what = _named(label, chinese) if chinese else f"each {label}"
        text = f"找出{what}并描述" if chinese else f"{what}, and describe it"
        instruction = build_prompt(text).instruction if not chinese else _ground_zh(what)
        return instruction, _boxes(objects, chinese, sub_label=True)

    def _point(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected] | None:
        owners = [t for t in _objects(things) if t.kind in ("cart", "face")]
        if not owners:
            return None
        owner = owners[int(self._rng.integers(len(owners)))]
        part = "wheel" if owner.kind == "cart" else "eye"
        label = self._one_of((owner.kind, owner.label))
        meant = [t for t in owners if label in (t.kind, t.label)]
        points = [p for t in meant for p in t.points]
        name = OTHERS_ZH[part] if chinese else part
        if chinese:
            text = self._one_of((f"指出{in_chinese(label)}的{name}", f"{in_chinese(label)}的{name}的关键点"))
        else:
            text = self._one_of(
                (
                    f"point to the {part}s of the {label}",
                    f"the {label}'s {part}s, as points",
                    f"point to the {label}'s {part}s",
                )
            )
        expected = Expected(points=tuple((name, x, y) for _, x, y in points))
        return build_prompt(text).instruction, expected

    def _count(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected]:
        objects = _objects(things)
        mode = self._one_of(("all", "kind", "colour", "label"))
        if mode == "all":
            found, noun, zh = objects, "object", "物体"
        elif mode == "kind":
            kind = self._pick([t.kind for t in objects], KINDS)
            found, noun, zh = [t for t in objects if t.kind == kind], kind, KINDS_ZH[kind]
        elif mode == "colour":
            colour = self._pick([t.colour for t in objects], list(COLOURS))
            found = [t for t in objects if t.colour == colour]
            noun, zh = f"{colour} object", f"{COLOURS_ZH[colour]}物体"
        else:
            label = self._pick_label(things)
            found, noun, zh = [t for t in objects if t.label == label], label, in_chinese(label)
        text = (
            f"图中有多少个{zh}？" if chinese else self._one_of((f"how many {noun}s are there?", f"count the {noun}s"))
        )
        boxes = _boxes(found, chinese).boxes
        return build_prompt(text).instruction, Expected(boxes, count=len(found), count_noun=zh if chinese else noun)

    def _shadow(self, things: list[_Thing], chinese: bool) -> tuple[str, Expected] | None:
        shadows = [t for t in things if t.label == "shadow"]
        if shadows and self._rng.random() < 0.85:
            label = self._one_of([t.attributes["of"] for t in shadows])
        elif _objects(things):
            label = self._one_of([t.label for t in _objects(things)])
        else:
            return None
        found = [t for t in shadows if t.attributes["of"] == label]
        if chinese:
            return self._detect(f"{in_chinese(label)}的影子", "", True), _boxes(found, True)
        wording = self._one_of((f"the shadow of the {label}", f"the {label}'s shadow", f"shadow of the {label}"))
        return build_prompt(wording).instruction, _boxes(found, False)


def _ground_zh(what: str) -> str:
    return build_prompt(f"ground: {what}").instruction


def _named(label: str, chinese: bool) -> str:
    return in_chinese(label) if chinese else label


def _things(truths: Sequence[Truth], view: View) -> list[_Thing]:
    sx, sy = view.reply_wh[0] / view.image_wh[0], view.reply_wh[1] / view.image_wh[1]
    things = [
        _Thing(
            t.label,
            to_box(t, view.image_wh, view.reply_wh),
            t.attributes,
            tuple((name, round(x * sx), round(y * sy)) for name, x, y in t.points),
        )
        for t in truths
    ]
    return sorted(things, key=lambda t: reading_order(t.box, view.reply_wh[1] / view.grid_hw[0]))


def _objects(things: list[_Thing]) -> list[_Thing]:
    return [t for t in things if t.label != "shadow"]


def _boxes(things: list[_Thing], chinese: bool, sub_label: bool = False) -> Expected:
    return Expected(
        boxes=tuple(
            (
                _named(t.label, chinese),
                t.box,
                _named(t.attributes["pattern"], chinese) if sub_label else None,
            )
            for t in things
        )
    )
