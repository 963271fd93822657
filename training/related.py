"""Questions for boxes by relation, attribute or size, for what is written, and for parts that are counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.grammar import RELATIONS_ZH, SIDE, noun
from training.replies import KINDS_ZH, OTHERS_ZH, Expected, in_chinese
from training.things import Thing, boxes_of
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import KINDS
from vlm_perception.scenes.relations import RELATIONS, biggest, loneliest, nearest, odd_one_out, smallest

_EXTREMES = {"biggest": (biggest, "最大的"), "smallest": (smallest, "最小的")}


def relation(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """Ask for what stands so to another thing, as "the circle left of the blue square"."""
    names = [noun(t, False) for t in objects]
    asked = []
    for to in (t for t in objects if names.count(noun(t, False)) == 1 and _plainly(t, objects)):
        for name, rule in RELATIONS.items():
            for kind in ("object", *sorted({t.kind for t in objects})):
                others = [t for t in objects if t is not to and kind in ("object", t.kind)]
                holding = [rule(t.xyxy, to.xyxy, SIDE) for t in others]
                if others and None not in holding:
                    asked.append((to, name, kind, [t for t, holds in zip(others, holding, strict=True) if holds]))
    if not asked:
        return None
    rare = [one for one in asked if one[1] in ("inside", "on top of") and one[3]]
    there = [one for one in asked if one[3]]
    pool = rare if rare and rng.random() < 0.4 else there if there and rng.random() < 0.85 else asked
    to, name, kind, found = pool[int(rng.integers(len(pool)))]
    if chinese:
        what = f"{noun(to, True)}{RELATIONS_ZH[name]}的{KINDS_ZH.get(kind, '物体')}"
    else:
        what = _one_of(rng, (f"the {kind} {name} the {noun(to, False)}", f"every {kind} {name} the {noun(to, False)}"))
    return build_prompt(what).instruction, boxes_of(found, chinese)


def superlative(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """The biggest, the nearest to another, the one that stands alone, the odd one out."""
    made: list[tuple[str, Thing]] = []
    for name, (rule, zh) in _EXTREMES.items():
        for kind in ("object", *KINDS):
            meant = [t for t in objects if kind in ("object", t.kind)]
            at = rule([t.xyxy for t in meant])
            if at is not None:
                made.append((f"{zh}{KINDS_ZH.get(kind, '物体')}" if chinese else f"the {name} {kind}", meant[at]))
    for to in objects:
        others = [t for t in objects if t is not to]
        at = nearest([t.xyxy for t in others], to.xyxy) if _plainly(to, objects) else None
        if at is not None:
            label = noun(to, chinese)
            made.append((f"离{label}最近的物体" if chinese else f"the object nearest to the {label}", others[at]))
    alone = loneliest([t.xyxy for t in objects])
    if alone is not None:
        made += [("独自一个的物体" if chinese else "the object that stands alone", objects[alone])] * 2
    odd = odd_one_out([t.label for t in objects])
    if odd is not None:
        made = [("与众不同的物体" if chinese else "the odd one out", objects[odd])] * len(made) + made
    if not made:
        return None
    what, found = made[int(rng.integers(len(made)))]
    return build_prompt(what).instruction, boxes_of([found], chinese)


def attribute(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """Ask by pattern, as "the striped square", "the plain red circle"."""
    if not objects:
        return None
    striped = bool(rng.random() < 0.6)
    pool = [t for t in objects if t.striped == striped] or objects
    like = pool[int(rng.integers(len(pool)))]
    label = like.label if rng.random() < 0.5 else like.kind
    found = [t for t in objects if t.striped == striped and label in (t.label, t.kind)]
    pattern = "striped" if striped else "plain"
    what = f"{OTHERS_ZH[pattern]}{in_chinese(label)}" if chinese else f"the {pattern} {label}"
    return build_prompt(what).instruction, boxes_of(found, chinese)


def parts(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """How many eyes, how many wheels: two a thing that shows both."""
    kind, part = (("face", "eye"), ("cart", "wheel"))[int(rng.integers(2))]
    owners = [t for t in objects if t.kind == kind]
    if not owners and rng.random() < 0.8:
        return None
    name = OTHERS_ZH[part] if chinese else part
    points = tuple((name, x, y) for t in owners for _, x, y in t.points)
    of = {"face": "笑脸", "cart": "小车"}[kind]
    wordings = (
        (f"图中有多少个{name}？", f"图中有多少个{of}的{name}？")
        if chinese
        else (f"how many {part}s are there?", f"how many {part}s do the {kind}s have?", f"count the {part}s")
    )
    expected = Expected(points=points, count=len(points), count_noun=name)
    return build_prompt(_one_of(rng, wordings)).instruction, expected


def reading(objects: list[Thing], chinese: bool, rng: np.random.Generator) -> tuple[str, Expected] | None:
    """What is written, everywhere or on certain carts; nothing is an answer too."""
    lettered = [t for t in objects if t.text is not None]
    if not lettered and rng.random() < 0.7:
        return None
    mode = int(rng.integers(3))
    if mode == 0 or not objects:
        found, what = lettered, ("所有文字" if chinese else _one_of(rng, ("all the text", "the text", "all text")))
    elif mode == 1:
        found = lettered
        what = "小车上的标签" if chinese else _one_of(rng, ("labels on the carts", "the labels of the carts"))
    else:
        carts = [t for t in objects if t.kind == "cart"] or objects
        label = carts[int(rng.integers(len(carts)))].label
        found = [t for t in lettered if t.label == label]
        what = (
            f"{in_chinese(label)}上的文字"
            if chinese
            else _one_of(rng, (f"the label on the {label}", f"the text on the {label}"))
        )
    texts = tuple(t.text for t in found if t.text is not None)
    return build_prompt(f"read: {what}").instruction, Expected(texts=texts)


def _plainly(thing: Thing, objects: Sequence[Thing]) -> bool:
    """Whether its name fits nothing else: "the red circle" would fit a striped one too."""
    fitting = [t for t in objects if t.label == thing.label and (t.striped or not thing.striped)]
    return len(fitting) == 1


def _one_of(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
