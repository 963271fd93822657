"""Questions about a scene and the right replies to them.

Every question goes through `vlm_perception.prompts.builder`, so the tiny model is trained on exactly the
instructions that the node sends, plus a few in the wording of Qwen's cookbook, sent as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training import related, spoken
from training.families import View
from training.replies import COLOURS_ZH, KINDS_ZH, OTHERS_ZH, Expected, in_chinese, render_reply
from training.things import Thing, boxes_of, named, named_in, objects_of, things_of
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
# The same for a checkpoint that is taught words, relations and letters too. Two things at once and shadows are asked
# for more often than before: of the first edition's figures they were the lowest (0.69 and 0.68). Of a scene without
# letters mostly a label is asked for instead.
TAUGHT_WEIGHTS = {
    "all": 0.05,
    "label": 0.08,
    "kind": 0.02,
    "colour": 0.03,
    "pattern": 0.01,
    "two": 0.16,
    "describe_each": 0.02,
    "point": 0.04,
    "count": 0.12,
    "shadow": 0.08,
    "describe": 0.06,
    "exists": 0.04,
    "related": 0.04,
    "told": 0.03,
    "relation": 0.06,
    "superlative": 0.07,
    "attribute": 0.02,
    "parts": 0.02,
    "read": 0.05,
}
# Their questions stand in files of their own.
_TAUGHT: dict[str, Callable[[list[Thing], bool, np.random.Generator], tuple[str, Expected] | None]] = {
    "describe": spoken.describe,
    "exists": spoken.exists,
    "related": spoken.related,
    "told": spoken.told,
    "relation": related.relation,
    "superlative": related.superlative,
    "attribute": related.attribute,
    "parts": related.parts,
    "read": related.reading,
}
ABSENT_SHARE = 0.4
# Of the questions about a scene with letters, where reading is taught, so many ask for these.
READ_SHARE = 0.35
CHINESE_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one scene: the instruction, the reply and what makes a reply right."""

    task: str
    instruction: str
    reply: str
    expected: Expected
    chinese: bool


class Asker:
    """Draws questions about scenes.

    Args:
        rng: Source of chance.
        weights: How often each kind of question is asked; those of models/tiny where nothing is given.
    """

    def __init__(self, rng: np.random.Generator, weights: Mapping[str, float] = TASK_WEIGHTS) -> None:
        self._rng, self._weights = rng, weights

    def ask(self, truths: Sequence[Truth], view: View, task: str | None = None) -> Question:
        """Ask one question about a scene.

        Args:
            truths: What is in the scene, in image pixels.
            view: How the model sees it.
            task: A key of `TAUGHT_WEIGHTS`; None draws one. Falls back to "label" where the scene
                has nothing to ask about (no wheels, no shadow).
        """
        things = things_of(truths, view)
        task = task or self._drawn(things)
        chinese = bool(self._rng.random() < CHINESE_SHARE)
        makers: dict[str, Callable[[list[Thing], bool], tuple[str, Expected] | None]] = {
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
        if task in _TAUGHT:
            made = _TAUGHT[task](objects_of(things), chinese, self._rng)
        else:
            made = makers[task](things, chinese)
        if made is None:
            task, made = "label", self._label(things, chinese)
        instruction, expected = made
        expected = replace(expected, names=named_in(instruction, objects_of(things)))
        return Question(task, instruction, render_reply(expected, chinese), expected, chinese)

    def _drawn(self, things: list[Thing]) -> str:
        has_letters = any(thing.text is not None for thing in things)
        if "read" in self._weights and has_letters and self._rng.random() < READ_SHARE:
            return "read"
        return str(self._rng.choice(list(self._weights), p=list(self._weights.values())))

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

    def _all(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        what, plural = ("所有物体", "") if chinese else ("object", "objects")
        return self._detect(what, plural, chinese), boxes_of(objects_of(things), chinese)

    def _label(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        label = self._pick_label(things)
        found = [t for t in objects_of(things) if t.label == label]
        return self._detect(named(label, chinese), label + "s", chinese), boxes_of(found, chinese)

    def _pick_label(self, things: list[Thing]) -> str:
        """A label that is there, or an absent one that shares the colour or the kind of a thing."""
        objects = objects_of(things)
        present = {t.label for t in objects}
        if objects and self._rng.random() >= ABSENT_SHARE:
            return self._one_of(sorted(present))
        pool = [f"{c} {k}" for c in COLOURS for k in KINDS if f"{c} {k}" not in present]
        near = [p for p in pool if any(p.split()[0] == t.colour or p.split()[1] == t.kind for t in objects)]
        return self._one_of(near if near and self._rng.random() < 0.75 else pool)

    def _kind(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        kind = self._pick([t.kind for t in objects_of(things)], KINDS)
        what = KINDS_ZH[kind] if chinese else kind
        return self._detect(what, kind + "s", chinese), boxes_of(
            [t for t in objects_of(things) if t.kind == kind], chinese
        )

    def _colour(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        colour = self._pick([t.colour for t in objects_of(things)], list(COLOURS))
        found = [t for t in objects_of(things) if t.colour == colour]
        if chinese:
            return self._detect(f"{COLOURS_ZH[colour]}物体", "", True), boxes_of(found, True)
        noun = self._one_of(("object", "thing"))
        return self._detect(f"{colour} {noun}", f"{colour} {noun}s", False), boxes_of(found, False)

    def _pick(self, present: Sequence[str], every: Sequence[str]) -> str:
        if present and self._rng.random() < 0.85:
            return self._one_of(present)
        return self._one_of(every)

    def _pattern(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        found = [t for t in objects_of(things) if t.attributes["pattern"] == "striped"]
        what = "条纹物体" if chinese else "striped object"
        return self._detect(what, "striped objects", chinese), boxes_of(found, chinese)

    def _two(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        first = self._pick_label(things)
        second = self._pick_label(things)
        if first == second:
            return self._label(things, chinese)
        joint = "；" if chinese else "; "
        text = joint.join(named(label, chinese) for label in (first, second))
        found = [t for t in objects_of(things) if t.label in (first, second)]
        return build_prompt(text).instruction, boxes_of(found, chinese)

    def _describe_each(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        objects = objects_of(things)
        if self._rng.random() < 0.5:
            what = "每个物体" if chinese else self._one_of(("each object", "every object", "the objects"))
        else:
            label = self._pick_label(things)
            objects = [t for t in objects if t.label == label]
            what = named(label, chinese) if chinese else f"each {label}"
        text = f"找出{what}并描述" if chinese else f"{what}, and describe it"
        instruction = build_prompt(text).instruction if not chinese else _ground_zh(what)
        return instruction, boxes_of(objects, chinese, sub_label=True)

    def _point(self, things: list[Thing], chinese: bool) -> tuple[str, Expected] | None:
        owners = [t for t in objects_of(things) if t.kind in ("cart", "face")]
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

    def _count(self, things: list[Thing], chinese: bool) -> tuple[str, Expected]:
        objects = objects_of(things)
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
        boxes = boxes_of(found, chinese).boxes
        return build_prompt(text).instruction, Expected(boxes, count=len(found), count_noun=zh if chinese else noun)

    def _shadow(self, things: list[Thing], chinese: bool) -> tuple[str, Expected] | None:
        shadows = [t for t in things if t.label == "shadow"]
        if shadows and self._rng.random() < 0.85:
            label = self._one_of([t.attributes["of"] for t in shadows])
        elif objects_of(things):
            label = self._one_of([t.label for t in objects_of(things)])
        else:
            return None
        found = [t for t in shadows if t.attributes["of"] == label]
        if chinese:
            return self._detect(f"{in_chinese(label)}的影子", "", True), boxes_of(found, True)
        wording = self._one_of((f"the shadow of the {label}", f"the {label}'s shadow", f"shadow of the {label}"))
        return build_prompt(wording).instruction, boxes_of(found, False)


def _ground_zh(what: str) -> str:
    return build_prompt(f"ground: {what}").instruction
