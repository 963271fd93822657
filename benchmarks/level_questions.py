"""One question for every row of the feature table, about a drawn scene, with what is right.

For benchmarks/levels.py, which asks them without ROS, and test/ros/test_levels.py, which asks them
through the node.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.replies import COLOURS_ZH, KINDS_ZH, in_chinese
from vlm_perception.scenes import MovingScene, Scene, Truth
from vlm_perception.scenes.matching import iou, match_boxes
from vlm_perception.types import WH, XY, XYXY, Task

IMAGE_WH: WH = (640, 480)
POINT_TOLERANCE = 0.05
# The smallest object of a scene, fraction of the image side: what a person would call clear.
SMALLEST_SIDE = 0.17
SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Seen:
    """One published thing, image pixels; `sub_label` is None when it has none."""

    label: str
    xyxy: XYXY | None
    point_xy: XY | None
    sub_label: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a scene and what is right.

    Attributes:
        prompt: What is typed.
        task: What it should be taken for.
        boxes: Label, box and, where it is asked for, sub_label of each thing.
        points: Name and place of each point.
        count: The number, where one is asked for.
    """

    prompt: str
    task: Task
    boxes: tuple[tuple[str, XYXY, str | None], ...] = ()
    points: tuple[tuple[str, XY], ...] = ()
    count: int | None = None

    def faults(self, seen: Sequence[Seen], count: int | None, count_agrees: bool | None) -> list[str]:
        """Name everything that is wrong with an answer; empty when it is right."""
        faults = self._box_faults(seen) + self._point_faults(seen)
        if count != self.count:
            faults.append(f"counted {count}, there are {self.count}")
        if self.count is not None and count_agrees is not True:
            faults.append("the number does not agree with the boxes")
        return faults

    def _box_faults(self, seen: Sequence[Seen]) -> list[str]:
        found = [(item, item.xyxy) for item in seen if item.xyxy is not None]
        pairs = match_boxes([box for _, box in found], [box for _, box, _ in self.boxes])
        faults = [f"{len(found)} boxes, expected {len(self.boxes)}"] if len(found) != len(self.boxes) else []
        good = {j: found[i][0] for i, j, overlap in pairs if overlap >= 0.5}
        for index, (label, box, sub_label) in enumerate(self.boxes):
            item = good.get(index)
            if item is None:
                faults.append(f"{label} at {box} is not found")
            elif item.label != label or (sub_label is not None and item.sub_label != sub_label):
                faults.append(f"{label} ({sub_label}) is called {item.label} ({item.sub_label})")
        return faults

    def _point_faults(self, seen: Sequence[Seen]) -> list[str]:
        found = [(item.label, item.point_xy) for item in seen if item.point_xy is not None]
        faults = [f"{len(found)} points, expected {len(self.points)}"] if len(found) != len(self.points) else []
        near = POINT_TOLERANCE * math.sqrt(IMAGE_WH[0] * IMAGE_WH[1])
        for name, place in self.points:
            if not any(said == name and math.dist(place, xy) <= near for said, xy in found):
                faults.append(f"{name} at {place} is not found")
        return faults


Ask = Callable[[Sequence[Truth], Sequence[Truth]], Asked | None]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the feature table.

    Attributes:
        name: Its level and what it is, as a name in JSON and of a test.
        n_objects: How many objects to place in a scene.
        ask: Makes the question from the scene's objects and shadows; None when the scene has
            nothing to ask about.
    """

    name: str
    n_objects: int
    ask: Ask


def scene_of(row: Row, seed: int) -> Scene:
    """Draw a scene for a row; the same seed gives the same scene."""
    return MovingScene(seed, IMAGE_WH, n_objects=row.n_objects).at(0.0)


def question_of(row: Row, scene: Scene) -> Asked | None:
    """Ask about a scene, or None when it has small or covered objects or nothing to ask about."""
    objects = [truth for truth in scene.truths if truth.label != SHADOW]
    side = math.sqrt(IMAGE_WH[0] * IMAGE_WH[1])
    small = any(max(_size(truth)) < SMALLEST_SIDE * side for truth in objects)
    covered = any(iou(a.xyxy, b.xyxy) > 0 for a, b in itertools.combinations(objects, 2))
    crowded = small or covered or len(objects) < row.n_objects
    return None if crowded else row.ask(objects, scene.truths[len(objects) :])


def _size(truth: Truth) -> tuple[float, float]:
    left, top, right, bottom = truth.xyxy
    return right - left, bottom - top


def _labelled(truths: Sequence[Truth], label: str) -> list[Truth]:
    return [truth for truth in truths if truth.label == label]


def _boxes(truths: Sequence[Truth], *, described: bool = False) -> tuple[tuple[str, XYXY, str | None], ...]:
    return tuple((t.label, t.xyxy, t.attributes["pattern"] if described else None) for t in truths)


def _kind_of(truth: Truth) -> str:
    return truth.label.split()[1]


def _every_object(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    return Asked("find every object", Task.DETECT, _boxes(objects))


def _one_thing(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    label = objects[0].label
    return Asked(f"where is the {label}?", Task.DETECT, _boxes(_labelled(objects, label)))


def _attributes(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    if len({truth.attributes["pattern"] for truth in objects}) < 2:
        return None
    return Asked("each object, and describe it", Task.GROUND, _boxes(objects, described=True))


def _several_things(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    first, second = objects[0].label, objects[1].label
    if first == second:
        return None
    meant = _labelled(objects, first) + _labelled(objects, second)
    return Asked(f"{first}; {second}", Task.DETECT, _boxes(meant))


def _described(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    label = objects[0].label
    meant = _labelled(objects, label)
    return Asked(f"each {label}, and describe it", Task.GROUND, _boxes(meant, described=True))


def _counted(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    kind = _kind_of(objects[0])
    meant = [truth for truth in objects if _kind_of(truth) == kind]
    if not 2 <= len(meant) < len(objects):
        return None
    return Asked(f"how many {kind}s are there?", Task.COUNT, _boxes(meant), count=len(meant))


def _pointed(owner: str, part: str, prompt: str) -> Ask:
    def ask(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
        owners = [truth for truth in objects if _kind_of(truth) == owner]
        if not owners or any(len(truth.points) < 2 for truth in owners):
            return None
        label = owners[0].label
        places = tuple((name, (x, y)) for truth in _labelled(objects, label) for name, x, y in truth.points)
        return Asked(prompt.format(label=label, part=part), Task.POINT, points=places)

    return ask


def _shadow_of(objects: Sequence[Truth], shadows: Sequence[Truth]) -> Asked | None:
    """Ask for one of two shadows, so that the relation has to be understood."""
    if len({truth.label for truth in objects}) < 2 or len(shadows) < 2:
        return None
    shadow = shadows[0]
    return Asked(f"the shadow of the {shadow.attributes['of']}", Task.DETECT, ((SHADOW, shadow.xyxy, None),))


def _chinese(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    label = objects[0].label
    boxes = tuple((in_chinese(label), truth.xyxy, None) for truth in _labelled(objects, label))
    return Asked(f"{in_chinese(label)}在哪里？", Task.DETECT, boxes)


def _counted_in_chinese(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    kind = _kind_of(objects[0])
    meant = [truth for truth in objects if _kind_of(truth) == kind]
    if not 2 <= len(meant) < len(objects):
        return None
    boxes = tuple((in_chinese(truth.label), truth.xyxy, None) for truth in meant)
    return Asked(f"图中有多少个{KINDS_ZH[kind]}？", Task.COUNT, boxes, count=len(meant))


def _absent(objects: Sequence[Truth], _: Sequence[Truth]) -> Asked | None:
    """Ask for the kind of one object in a colour that nothing has."""
    here = {truth.label.split()[0] for truth in objects}
    colour = next(name for name in COLOURS_ZH if name not in here)
    return Asked(f"{colour} {_kind_of(objects[0])}", Task.DETECT)


ROWS = (
    Row("1 every object", 3, _every_object),
    Row("1 one thing among others", 3, _one_thing),
    Row("1 attributes in sub_label", 3, _attributes),
    Row("1 several things at once", 3, _several_things),
    Row("2 grounding by description", 3, _described),
    Row("2 counting", 3, _counted),
    Row("3 key points of a cart", 2, _pointed("cart", "wheels", "the {label}'s {part}, as points")),
    Row("3 key points of a face", 2, _pointed("face", "eyes", "point to the {part} of the {label}")),
    Row("4 relations: whose shadow", 2, _shadow_of),
    Row("Chinese", 3, _chinese),
    Row("Chinese counting", 3, _counted_in_chinese),
    Row("absent object", 3, _absent),
)
