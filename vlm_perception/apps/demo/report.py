"""What the demo asks about a drawn scene, and how it sums the answers up. No ROS."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm_perception.types import XYXY
from vlm_perception.world.boxes import match_boxes

SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """One prompt and which true objects it means.

    Attributes:
        prompt: Plain text for `~/prompt`.
        means: Whether an object of that label is meant.
    """

    prompt: str
    means: Callable[[str], bool]

    @property
    def slug(self) -> str:
        """The prompt as part of a file name."""
        return re.sub(r"[^a-z0-9]+", "_", self.prompt.lower()).strip("_")


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer as the client saw it.

    Attributes:
        answer: Fields of `~/answer`.
        truth: Fields of `~/truth_json` of the same stamp.
    """

    answer: Mapping[str, Any]
    truth: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PromptSummary:
    """The summary of one prompt; times are medians over its answers, milliseconds.

    `place_error_m` is the median distance between where things were said to be and where they were, metres; None when
    no place was given.
    """

    prompt: str
    found: int
    expected: int
    mean_iou: float
    frame_age_ms: float
    latency_ms: float
    place_error_m: float | None
    words: str

    def summary(self) -> dict[str, Any]:
        """The row as `summary.json` holds it."""
        return {
            "prompt": self.prompt,
            "found": self.found,
            "mean_iou": round(self.mean_iou, 4),
            "frame_age_ms": round(self.frame_age_ms, 1),
            "latency_ms": round(self.latency_ms, 1),
            "place_error_m": None if self.place_error_m is None else round(self.place_error_m, 4),
        }


def questions_about(labels: Sequence[str]) -> tuple[DemoQuestion, ...]:
    """Make five different prompts that fit a scene; the last asks for words, and means no box.

    Args:
        labels: Labels of what is in it, such as "red circle"; at least one that is no shadow.
    """
    objects = [label for label in labels if label != SHADOW]
    # A label that is there once makes the plainest "find this one".
    single = min(objects, key=lambda label: (objects.count(label), objects.index(label)))
    kind = Counter(label.split()[-1] for label in objects).most_common(1)[0][0]
    return (
        DemoQuestion("all objects", lambda label: label != SHADOW),
        DemoQuestion(f"the {single}", lambda label: label == single),
        DemoQuestion(f"how many {kind}s are there?", lambda label: label.split()[-1] == kind),
        DemoQuestion("each object, and describe it", lambda label: label != SHADOW),
        DemoQuestion("describe the scene", lambda label: False),
    )


def row_of(question: DemoQuestion, samples: Sequence[Sample]) -> PromptSummary:
    """Sum up the answers to one prompt.

    `mean_iou` is over all found boxes that overlap a meant object, of all answers; 0 without any.
    """
    overlaps: list[float] = []
    places: list[float] = []
    for sample in samples:
        meant = [item for item in sample.truth["objects"] if question.means(item["label"])]
        boxed = [item for item in sample.answer["objects"] if item["bbox_xyxy"] is not None]
        for found, true, overlap in match_boxes(found_boxes(sample.answer), [_box(item) for item in meant]):
            overlaps.append(overlap)
            if (error_m := _place_error_m(boxed[found], meant[true])) is not None:
                places.append(error_m)
    last = samples[-1]
    return PromptSummary(
        prompt=question.prompt,
        found=statistics.median_high(len(found_boxes(sample.answer)) for sample in samples),
        expected=sum(1 for item in last.truth["objects"] if question.means(item["label"])),
        mean_iou=statistics.fmean(overlaps) if overlaps else 0.0,
        frame_age_ms=statistics.median(sample.answer["timings"]["age_s"] or 0.0 for sample in samples) * 1000,
        latency_ms=statistics.median(sample.answer["timings"]["latency_s"] for sample in samples) * 1000,
        place_error_m=statistics.median(places) if places else None,
        words=_words(last.answer),
    )


def found_boxes(answer: Mapping[str, Any]) -> list[XYXY]:
    """Boxes of an answer, image pixels."""
    return [_box(item) for item in answer["objects"] if item["bbox_xyxy"] is not None]


def table(rows: Sequence[PromptSummary]) -> str:
    """The rows as text for a terminal."""
    head = ("prompt", "found", "true", "mean IoU", "place error", "frame age", "latency", "said")
    lines = [
        (
            row.prompt,
            *_boxes_told(row),
            "-" if row.place_error_m is None else f"{row.place_error_m * 100:.1f} cm",
            f"{row.frame_age_ms:.0f} ms",
            f"{row.latency_ms:.0f} ms",
            row.words,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, rule, *lines)
    )


def _boxes_told(row: PromptSummary) -> tuple[str, str, str]:
    if not row.found and not row.expected:
        return "-", "-", "-"
    return str(row.found), str(row.expected), f"{row.mean_iou:.2f}"


def summary_json(rows: Sequence[PromptSummary]) -> str:
    """The text of `summary.json`."""
    return json.dumps([row.summary() for row in rows], ensure_ascii=False, indent=2) + "\n"


def _box(item: Mapping[str, Any]) -> XYXY:
    left, top, right, bottom = item["bbox_xyxy"]
    return float(left), float(top), float(right), float(bottom)


def _place_error_m(found: Mapping[str, Any], true: Mapping[str, Any]) -> float | None:
    """Return how far apart the two places are; None where one is not there, or in another frame."""
    if found.get("position_frame", "") != true.get("position_frame"):
        return None
    return math.dist(found["position_m"], true["position_m"])


def _words(answer: Mapping[str, Any]) -> str:
    if answer["count"] is not None:
        return f"{answer['count']}: {answer['text']}" if answer["text"] else str(answer["count"])
    shown = [", ".join([_name(item), *item["attributes"].values(), *_away(item)]) for item in answer["objects"]]
    words = "; ".join(shown) or str(answer["text"])
    return words if len(words) <= 80 else words[:77] + "..."


def _name(item: Mapping[str, Any]) -> str:
    return f"{item['label']} {item.get('id', '')}".rstrip()


def _away(item: Mapping[str, Any]) -> list[str]:
    return [f"{item['distance_m']:.1f} m"] if "distance_m" in item else []
