"""How early the first object of an answer is out (`publish_partial`): `python -m benchmarks.streaming`.

All objects of drawn scenes with 1, 4 and 12 of them are asked for; times run from the image to an object. For
`decoding_share` the reading of image and prompt is left out: it is the first object's share of the time from the first
token to the last object. Prints the median of all scenes of all runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import print_table, silence_libraries, write_json
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import open_engine
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import random_scene, render
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Request, Result

SIZES = (1, 4, 12)
IMAGE_WH = (640, 480)
BUDGET = PixelBudget(224 * 224, 1024 * 1024)
MAX_NEW_TOKENS = 1024
FIRST_SEED = 70_000


class Times(NamedTuple):
    """One answer; seconds from the request."""

    objects: int
    token_s: float
    first_s: float
    last_s: float
    answer_s: float


def scenes_of(objects: int) -> Iterator[NDArray[np.uint8]]:
    """Draw scenes that really hold that many objects; not all places fit that many."""
    for seed in range(FIRST_SEED, FIRST_SEED + 10_000):
        spec = random_scene(np.random.default_rng(seed), IMAGE_WH, objects)
        if len(spec.objects) == objects:
            yield render(spec, IMAGE_WH).rgb


def time_answer(engine: Engine, rgb: NDArray[np.uint8]) -> Times | None:
    """Time one answer; None when nothing was found."""
    frame = Frame(rgb, FrameHeader(1, 0, "camera"), "/image", 0.0)
    told_s: list[float] = []

    def on_partial(_: Result) -> None:
        told_s.append(time.perf_counter())

    began_s = time.perf_counter()
    result = perceive(
        engine, Request(frame, build_prompt("all objects"), BUDGET, MAX_NEW_TOKENS), on_partial=on_partial
    )
    ended_s = time.perf_counter()
    if not told_s:
        return None
    timings = result.answer.timings
    token_s = timings.preprocess_s + timings.prefill_s
    return Times(len(result.objects), token_s, told_s[0] - began_s, told_s[-1] - began_s, ended_s - began_s)


def row_of(wanted: int, times: list[Times]) -> dict[str, Any]:
    """Medians over all answers about scenes of one size."""
    if not times:
        raise SystemExit(f"the model found nothing in the scenes with {wanted} objects")
    shares = [(t.first_s - t.token_s) / (t.last_s - t.token_s) for t in times if t.objects > 1]
    return {
        "objects": wanted,
        "found": statistics.median(t.objects for t in times),
        "first_object_ms": round(statistics.median(1e3 * t.first_s for t in times), 1),
        "answer_ms": round(statistics.median(1e3 * t.answer_s for t in times), 1),
        "first_of_answer": round(statistics.median(t.first_s / t.answer_s for t in times), 2),
        "decoding_share": round(statistics.median(shares), 2) if shares else None,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=6, help="scenes of each size in a run")
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    silence_libraries()
    engine, rows = open_engine(args.model), []
    for size in SIZES:
        drawn = scenes_of(size)
        pictures = [next(drawn) for _ in range(args.scenes)]
        time_answer(engine, pictures[0])
        times = [time_answer(engine, rgb) for _ in range(args.runs) for rgb in pictures]
        rows.append(row_of(size, [found for found in times if found is not None]))
    engine.close()
    print_table(rows)
    write_json("streaming", {"model": args.model, "runs": args.runs, "scenes": args.scenes, "rows": rows})


if __name__ == "__main__":
    main()
