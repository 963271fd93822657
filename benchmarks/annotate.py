"""What drawing a result costs: `python -m benchmarks.annotate`.

Draws made-up results on drawn scenes, each frame with new scores as a camera would bring them, and
beside it, in the same run and in turns, supervision's own box and rich label annotators (with its
smart positions) on a copy in BGR order, which is what `annotate` was made of at first. Prints the
median of the runs in milliseconds, the processor time of ours (which other programs disturb less) and how many times
longer supervision's way takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from vlm_perception.drawing.annotate import annotate
from vlm_perception.scenes import COLOURS, KINDS, random_scene, render
from vlm_perception.types import (
    Answer,
    DetectedObject,
    Frame,
    FrameHeader,
    PixelBudget,
    Prompt,
    Request,
    Result,
    Task,
    Timings,
)

SIZES_WH = ((320, 240), (1280, 720), (3840, 2160))
COUNTS = (1, 6, 12, 50)


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the runs; times in milliseconds."""

    width: int
    height: int
    objects: int
    annotate_ms: float
    annotate_cpu_ms: float
    supervision_ms: float
    ratio: float


def made_up_results(image_wh: tuple[int, int], count: int, frames: int) -> list[Result]:
    """Return results on one scene, the same boxes with other scores in each."""
    rng = np.random.default_rng(count)
    rgb = render(random_scene(rng, image_wh, 6), image_wh).rgb
    wh = np.array(image_wh)
    sides = wh * rng.uniform(0.04, 0.16, (count, 2))
    corners = rng.uniform(0, 1, (count, 2)) * (wh - sides)
    names = [f"{rng.choice(list(COLOURS))} {rng.choice(KINDS)}" for _ in range(count)]
    request = Request(
        Frame(rgb, FrameHeader(0, 0, ""), "/image", 0.0),
        Prompt("every shape in the picture", Task.DETECT, ""),
        PixelBudget(3136, 10**6),
        512,
    )
    answer = Answer("", (1, 1), "absolute", "stop", (), Timings(0, 0, 0))
    objects = [
        DetectedObject(name, tuple(map(float, (*low, *(low + side)))), None)  # type: ignore[arg-type]
        for name, low, side in zip(names, corners, sides, strict=True)
    ]
    return [
        Result(
            request, answer, tuple(replace(found, score=float(rng.uniform(0.3, 1))) for found in objects), (), "", count
        )
        for _ in range(frames)
    ]


def supervision_annotate(rgb: NDArray[np.uint8], result: Result) -> NDArray[np.uint8]:
    """Draw boxes and labels with supervision alone."""
    scene = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    names = list(dict.fromkeys(found.label for found in result.objects))
    detections = sv.Detections(
        xyxy=np.array([found.xyxy for found in result.objects], dtype=np.float32),
        class_id=np.array([names.index(found.label) for found in result.objects]),
    )
    scene = sv.BoxAnnotator(thickness=2).annotate(scene, detections)
    text_px = max(12, round(min(rgb.shape[:2]) * 0.026))
    labels = [f"{found.label} {found.score:.2f}" for found in result.objects]
    scene = sv.RichLabelAnnotator(font_size=text_px, smart_position=True).annotate(scene, detections, labels)
    return np.asarray(cv2.cvtColor(scene, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def measure(image_wh: tuple[int, int], count: int, frames: int, runs: int) -> Row:
    """Time both ways in turns."""
    results = made_up_results(image_wh, count, frames)
    ways = (annotate, supervision_annotate)
    for way in ways:
        _median_ms(way, results[:2])
    times = [[_median_ms(way, results) for way in ways] for _ in range(runs)]
    own, other = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(second / first for first, second in times)
    cpu = statistics.median(_median_ms(annotate, results, time.process_time) for _ in range(runs))
    return Row(*image_wh, count, round(own, 2), round(cpu, 2), round(other, 2), round(ratio, 1))


def _median_ms(
    way: Callable[[NDArray[np.uint8], Result], Any],
    results: list[Result],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    took_ms = []
    for result in results:
        start_s = clock()
        way(result.request.frame.rgb, result)
        took_ms.append(1e3 * (clock() - start_s))
    return statistics.median(took_ms)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    rows = [asdict(measure(size, count, args.frames, args.runs)) for size in SIZES_WH for count in COUNTS]
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")
    output = Path("build/benchmarks/annotate.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"frames": args.frames, "runs": args.runs, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
