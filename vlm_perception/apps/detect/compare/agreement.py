"""How far two answers about one picture agree: objects of the one that are objects of the other, one to one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from vlm_perception.prompts.words import Words, name_key
from vlm_perception.types import XYXY, Result
from vlm_perception.world.boxes import box_of, match_boxes

SAME_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two answers have in common.

    Attributes:
        pairs: Objects that both found.
        missing: Those of the first alone.
        more: Those of the second alone.
    """

    pairs: int
    missing: int
    more: int

    @property
    def differing(self) -> int:
        """Objects that only one of the two found."""
        return self.missing + self.more


def agreement_of(first: Result, second: Result) -> Agreement:
    """Pair the objects of two answers, best overlaps first, at an IoU of 0.5 or more.

    Those of a pair have the same label but for case, articles and plurals; where the prompts are not the same, so that
    labels need not be, places alone count. A bare point is given a small square, as tracks give it.
    """
    by_label = first.request.prompt.text == second.request.prompt.text
    ours, theirs = _boxes(first, by_label), _boxes(second, by_label)
    pairs = sum(
        overlap >= SAME_IOU for label in ours for _, _, overlap in match_boxes(ours[label], theirs.get(label, []))
    )
    return Agreement(pairs, len(first.objects) - pairs, len(second.objects) - pairs)


def agreed_share(agreements: Iterable[Agreement]) -> float | None:
    """Twice the pairs over all objects of both (F1, Dice's coefficient), 0..1; None where nobody found anything."""
    told = list(agreements)
    pairs = 2 * sum(one.pairs for one in told)
    objects = pairs + sum(one.differing for one in told)
    return pairs / objects if objects else None


def _boxes(result: Result, by_label: bool) -> dict[Words | str, list[XYXY]]:
    boxes: dict[Words | str, list[XYXY]] = defaultdict(list)
    for found in result.objects:
        boxes[name_key(found.label) if by_label else ""].append(box_of(found, result.request.frame.image_wh))
    return dict(boxes)
