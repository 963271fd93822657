"""The ladder of tasks, a row each: what is drawn, and what is asked about it in both languages, with what is right.

benchmarks/levels.py asks them through the node. Wordings are those a person would type, and those the tiny models are
taught where they have to be taught one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.level_answers import IMAGE_WH, SIDE_PX, Asked, Wanted
from benchmarks.level_table import draw_table
from training.grammar import RELATIONS_ZH, with_article
from training.replies import COLOURS_ZH, KINDS_ZH, OTHERS_ZH, in_chinese
from vlm_perception.scenes import KINDS, ObjectSpec, SceneSpec, Truth, Variety, random_scene, render
from vlm_perception.scenes.clips import DrawnClip, Happening, What
from vlm_perception.scenes.relations import odd_one_out, on_top_of
from vlm_perception.scenes.spec import PLAIN
from vlm_perception.types import Task
from vlm_perception.world.boxes import iou

# The smallest object of a scene, fraction of the image side: what a person would call clear.
SMALLEST_SIDE = 0.17
# Things that touch share a row of pixels.
MOST_OVERLAP = 0.02
STEP_S, CLIP_FRAMES = 0.5, 8
_SHADOW = "shadow"
_ARRANGED = Variety(arranged_share=1.0)
_LETTERED = Variety(lettered_share=1.0)
_VERBS: dict[What, tuple[str, str]] = {
    "moves": ("move", "移动"),
    "comes": ("come", "进入"),
    "leaves": ("leave", "离开"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown.

    Attributes:
        frames: (h, w, 3) uint8 RGB each, oldest first; one of a picture.
        objects: What is in the last one but shadows.
        shadows: Its shadows.
        happenings: What happens in a clip.
    """

    frames: tuple[NDArray[np.uint8], ...]
    objects: tuple[Truth, ...]
    shadows: tuple[Truth, ...]
    happenings: tuple[Happening, ...] = ()


Draw = Callable[[int], Shown | None]
Ask = Callable[[Shown, bool], Asked | None]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ladder.

    Attributes:
        name: Its level and what it is, as a name in JSON and of a test.
        draw: Makes what is shown from a seed; None where it is not clear enough to ask about.
        ask: Makes the question, in Chinese or not; None where there is nothing to ask about.
    """

    name: str
    draw: Draw
    ask: Ask

    def question(self, seed: int, *, chinese: bool) -> tuple[Shown, Asked] | None:
        """Draw and ask; the same seed gives the same. None where there is nothing to ask about."""
        shown = self.draw(seed)
        asked = None if shown is None else self.ask(shown, chinese)
        return None if shown is None or asked is None else (shown, asked)


def _picture(n_objects: int, wants: Callable[[Sequence[ObjectSpec]], bool] = bool, variety: Variety = PLAIN) -> Draw:
    """Draw scenes of large, uncovered things; `wants` looks at what is to be drawn, because drawing takes longer."""

    def draw(seed: int) -> Shown | None:
        spec = random_scene(np.random.default_rng(seed), IMAGE_WH, n_objects, variety=variety)
        if len(spec.objects) < n_objects or not all(map(_in_view, spec.objects)) or not wants(spec.objects):
            return None
        return _shown(spec)

    return draw


def _shown(spec: SceneSpec) -> Shown | None:
    scene = render(spec, IMAGE_WH)
    objects = tuple(truth for truth in scene.truths if truth.label != _SHADOW)
    covered = any(iou(a.xyxy, b.xyxy) > MOST_OVERLAP for a, b in itertools.combinations(objects, 2))
    if covered or len(objects) < len(spec.objects):
        return None
    return Shown((scene.rgb,), objects, scene.truths[len(objects) :])


def _in_view(item: ObjectSpec) -> bool:
    halves = item.half_wh(IMAGE_WH)
    inside = all(
        half <= place * size <= size - half
        for half, place, size in zip(halves, (item.cx, item.cy), IMAGE_WH, strict=True)
    )
    return inside and item.side >= SMALLEST_SIDE


def _clip(seed: int) -> Shown | None:
    clip = DrawnClip(np.random.default_rng(seed), IMAGE_WH, (CLIP_FRAMES - 1) * STEP_S)
    if not clip.happenings:
        return None
    scenes = [clip.at(number * STEP_S) for number in range(CLIP_FRAMES)]
    return Shown(tuple(scene.rgb for scene in scenes), scenes[-1].truths, (), clip.happenings)


def _table(seed: int) -> Shown | None:
    rgb, table = draw_table(seed, IMAGE_WH)
    return Shown((rgb,), (table,), ())


def _kind(truth: Truth) -> str:
    return truth.label.split()[1]


def _striped(truth: Truth) -> bool:
    return truth.attributes["pattern"] == "striped"


def _named(label: str, chinese: bool) -> str:
    return in_chinese(label) if chinese else label


def _noun(truth: Truth, chinese: bool) -> str:
    striped = ("条纹" if chinese else "striped ") if _striped(truth) else ""
    return striped + _named(truth.label, chinese)


def _boxes(truths: Sequence[Truth], chinese: bool, *, described: bool = False) -> tuple[Wanted, ...]:
    return tuple(Wanted(t.xyxy, _named(t.label, chinese), _striped(t) if described else None) for t in truths)


def _places(truths: Sequence[Truth]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for truth in truths for _, x, y in truth.points)


def _labelled(shown: Shown, label: str) -> list[Truth]:
    return [truth for truth in shown.objects if truth.label == label]


def _every_object(shown: Shown, chinese: bool) -> Asked | None:
    text = "找出所有物体" if chinese else "find every object"
    return Asked(text, Task.DETECT, _boxes(shown.objects, chinese))


def _one_thing(shown: Shown, chinese: bool) -> Asked | None:
    label = shown.objects[0].label
    name = _named(label, chinese)
    text = f"{name}在哪里？" if chinese else f"where is the {name}?"
    return Asked(text, Task.DETECT, _boxes(_labelled(shown, label), chinese))


def _several_things(shown: Shown, chinese: bool) -> Asked | None:
    first, second = shown.objects[0].label, shown.objects[1].label
    if first == second:
        return None
    text = f"{_named(first, chinese)}{'；' if chinese else '; '}{_named(second, chinese)}"
    return Asked(text, Task.DETECT, _boxes(_labelled(shown, first) + _labelled(shown, second), chinese))


def _attributes(shown: Shown, chinese: bool) -> Asked | None:
    if len({_striped(truth) for truth in shown.objects}) < 2:
        return None
    text = "找出每个物体并描述" if chinese else "each object, and describe it"
    return Asked(text, Task.GROUND, _boxes(shown.objects, chinese, described=True))


def _absent(shown: Shown, chinese: bool) -> Asked | None:
    """Ask for the kind of one object in a colour that nothing has."""
    here = {truth.label.split()[0] for truth in shown.objects}
    colour = next(name for name in COLOURS_ZH if name not in here)
    return Asked(_named(f"{colour} {_kind(shown.objects[0])}", chinese), Task.DETECT, ())


def _described(shown: Shown, chinese: bool) -> Asked | None:
    label = shown.objects[0].label
    text = f"找出{_named(label, True)}并描述" if chinese else f"each {label}, and describe it"
    return Asked(text, Task.GROUND, _boxes(_labelled(shown, label), chinese, described=True))


def _by_attribute(shown: Shown, chinese: bool) -> Asked | None:
    """Ask for the striped one of a kind that is there plain, too."""
    kind = next((_kind(t) for t in shown.objects if _striped(t)), "")
    if not any(_kind(truth) == kind and not _striped(truth) for truth in shown.objects):
        return None
    meant = [truth for truth in shown.objects if _kind(truth) == kind and _striped(truth)]
    text = f"条纹{KINDS_ZH[kind]}" if chinese else f"the striped {kind}"
    return Asked(text, Task.DETECT, tuple(Wanted(truth.xyxy) for truth in meant))


def _on_top(shown: Shown, chinese: bool) -> Asked | None:
    for upper, lower in itertools.permutations(shown.objects, 2):
        others = [truth for truth in shown.objects if truth is not lower]
        told = [on_top_of(truth.xyxy, lower.xyxy, SIDE_PX) for truth in others]
        if (
            told.count(True) == 1
            and on_top_of(upper.xyxy, lower.xyxy, SIDE_PX)
            and len(_labelled(shown, lower.label)) == 1
        ):
            noun = _noun(lower, chinese)
            text = (
                f"{noun}{RELATIONS_ZH['on top of']}的{KINDS_ZH[_kind(upper)]}"
                if chinese
                else f"the {_kind(upper)} on top of the {noun}"
            )
            return Asked(text, Task.DETECT, (Wanted(upper.xyxy),))
    return None


def _counted(shown: Shown, chinese: bool) -> Asked | None:
    kind = _kind(shown.objects[0])
    meant = [truth for truth in shown.objects if _kind(truth) == kind]
    if not 2 <= len(meant) < len(shown.objects):
        return None
    text = f"图中有多少个{KINDS_ZH[kind]}？" if chinese else f"how many {kind}s are there?"
    return Asked(text, Task.COUNT, tuple(Wanted(truth.xyxy) for truth in meant), count=len(meant))


def _pointed(owner: str, part: str, owners: int) -> Ask:
    def ask(shown: Shown, chinese: bool) -> Asked | None:
        meant = [truth for truth in shown.objects if _kind(truth) == owner]
        if len({truth.label for truth in meant}) < owners or any(len(truth.points) < 2 for truth in meant):
            return None
        label = meant[0].label
        text = f"指出{_named(label, True)}的{OTHERS_ZH[part]}" if chinese else f"point to the {part}s of the {label}"
        return Asked(text, Task.POINT, points=_places(_labelled(shown, label)))

    return ask


def _parts_counted(shown: Shown, chinese: bool) -> Asked | None:
    faces = [truth for truth in shown.objects if _kind(truth) == "face"]
    if len(faces) < 2 or any(len(truth.points) < 2 for truth in faces):
        return None
    text = "图中有多少个笑脸的眼睛？" if chinese else "how many eyes do the faces have?"
    return Asked(text, Task.COUNT, points=_places(faces), count=2 * len(faces))


def _inferred(shown: Shown, chinese: bool) -> Asked | None:
    """Ask for what no word of the question describes."""
    at = odd_one_out([truth.label for truth in shown.objects])
    if at is None:
        return None
    text = "与众不同的物体" if chinese else "the odd one out"
    return Asked(text, Task.DETECT, (Wanted(shown.objects[at].xyxy),))


def _shadow(shown: Shown, chinese: bool) -> Asked | None:
    """Ask for one of two shadows, so that the relation has to be understood."""
    if len({truth.label for truth in shown.objects}) < 2 or len(shown.shadows) < 2:
        return None
    shadow = shown.shadows[0]
    name = _named(shadow.attributes["of"], chinese)
    text = f"{name}的影子" if chinese else f"the shadow of the {name}"
    return Asked(text, Task.DETECT, (Wanted(shadow.xyxy),))


def _told(shown: Shown, chinese: bool) -> Asked | None:
    labels = tuple(truth.label for truth in shown.objects)
    text = "描述一下场景" if chinese else "describe the scene"
    return Asked(text, Task.DESCRIBE, named=labels, chinese=chinese)


def _exists(there: bool) -> Ask:
    def ask(shown: Shown, chinese: bool) -> Asked | None:
        here, kind = {truth.label for truth in shown.objects}, _kind(shown.objects[0])
        near = (f"{colour} {kind}" for colour in COLOURS_ZH)
        label = shown.objects[0].label if there else next(name for name in near if name not in here)
        text = f"有{_named(label, True)}吗？" if chinese else f"is there {with_article(label, chinese=False)}?"
        return Asked(text, Task.DESCRIBE, verdict=there, chinese=chinese)

    return ask


def _happened(shown: Shown, chinese: bool) -> Asked | None:
    text = "watch: 发生了什么？" if chinese else "watch: what happened?"
    return Asked(text, Task.WATCH, happenings=shown.happenings, told=True, chinese=chinese)


def _when(shown: Shown, chinese: bool) -> Asked | None:
    one = shown.happenings[0]
    verb, verb_zh = _VERBS[one.what]
    name = _named(one.label, chinese)
    text = f"watch: {name}什么时候{verb_zh}？" if chinese else f"watch: when did the {name} {verb}?"
    return Asked(text, Task.WATCH, happenings=(one,), chinese=chinese)


def _read(shown: Shown, chinese: bool) -> Asked | None:
    texts = [truth.text for truth in shown.objects if truth.text is not None]
    text = "read: 小车上的标签" if chinese else "read: labels on the carts"
    return Asked(text, Task.READ, tuple(Wanted(box, text=said) for said, box in texts)) if texts else None


def _read_table(shown: Shown, chinese: bool) -> Asked | None:
    text = "read: 表格" if chinese else "read: the table"
    return Asked(text, Task.READ, tuple(Wanted(t.text[1], text=t.text[0]) for t in shown.objects if t.text))


def _half_striped(objects: Sequence[ObjectSpec]) -> bool:
    return any(len({item.pattern for item in objects if item.kind == kind}) > 1 for kind in KINDS)


def _kinds(kind: str, least: int) -> Callable[[Sequence[ObjectSpec]], bool]:
    return lambda objects: len({(item.colour, item.kind) for item in objects if item.kind == kind}) >= least


ROWS = (
    Row("1 every object", _picture(3), _every_object),
    Row("1 one thing among others", _picture(3), _one_thing),
    Row("1 several things at once", _picture(3), _several_things),
    Row("1 attributes in sub_label", _picture(3), _attributes),
    Row("1 absent thing", _picture(3), _absent),
    Row("2 description and sub_label", _picture(3), _described),
    Row("2 by attribute", _picture(3, _half_striped), _by_attribute),
    Row("2 on top of", _picture(3, variety=_ARRANGED), _on_top),
    Row("2 counting", _picture(3), _counted),
    Row("3 key points of one cart among several", _picture(3, _kinds("cart", 2)), _pointed("cart", "wheel", 2)),
    Row("3 key points of a face", _picture(2, _kinds("face", 1)), _pointed("face", "eye", 1)),
    Row("4 counting by reasoning: eyes", _picture(3, _kinds("face", 2)), _parts_counted),
    Row("4 inferred relation: the odd one out", _picture(4, variety=_ARRANGED), _inferred),
    Row("4 whose shadow", _picture(2, lambda objects: all(item.shadow for item in objects)), _shadow),
    Row("5 yes", _picture(3), _exists(there=True)),
    Row("5 no, there is none", _picture(3), _exists(there=False)),
    Row("5 description in words", _picture(3), _told),
    Row("6 video: what moved which way", _clip, _happened),
    Row("6 video: when it came, left or moved", _clip, _when),
    Row("7 document: labels", _picture(2, _kinds("cart", 1), _LETTERED), _read),
    Row("7 document: a small table", _table, _read_table),
)
