"""What following costs on one core: several runs over the same frames, beside a plain shrink in the same run.

Times are the thread's own on its core, which other programs disturb less than a clock on the wall.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from benchmarks.tracks.detector import Late, NoisyTruth
from benchmarks.tracks.films import Film, Shot
from benchmarks.tracks.methods import Ours
from benchmarks.tracks.run import Plan

AIMS_MS = (5.0, 8.0)
_SECONDS = 3.0
_DELAY_S = 1.0


def cost(kinds: Sequence[str], plan: Plan, runs: int) -> list[dict[str, Any]]:
    """Measure; one row for each kind of film and number of objects, medians of the runs.

    `ms` and `p95_ms` are those of one frame; `ms_with_catch_up` has the work of the catch-ups too, spread over the
    frames, and `ratio` is that to one shrink of the frame to a quarter (`shrink_ms`).
    """
    rows = []
    for kind in kinds:
        for count in plan.objects:
            # Rendering must not come between: caches would be cold in every frame.
            shots = list(Film(kind, count, 0, _SECONDS).shots())
            measured = [_run(shots, plan.step_s) for _ in range(runs)]
            rows.append(
                {"film": kind, "objects": count}
                | {key: round(statistics.median(run[key] for run in measured), 2) for key in measured[0]}
            )
    return rows


def _run(shots: Sequence[Shot], step_s: float) -> dict[str, float]:
    ours, detector, shrinks = Ours(step_s), Late(_DELAY_S, NoisyTruth(0)), []
    first = None
    for index, shot in enumerate(shots):
        for arrival in detector.until(shot.frame.received_s):
            first = index if first is None else first
            ours.answer(arrival)
        detector.see(shot)
        ours.frame(shot)
        began_s = time.thread_time()
        cv2.resize(shot.frame.rgb, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        shrinks.append(1e3 * (time.thread_time() - began_s))
    frames = ours.advance_ms[first:]
    median, shrink = statistics.median(frames), statistics.median(shrinks)
    whole = median + sum(ours.catch_up_ms) / len(frames)
    return {
        "ms": median,
        "p95_ms": float(np.percentile(frames, 95)),
        "ms_with_catch_up": whole,
        "catch_up_ms": statistics.median(ours.catch_up_ms or [0.0]),
        "catch_up_step_ms": statistics.median(ours.step_ms or [0.0]),
        "shrink_ms": shrink,
        "ratio": whole / shrink,
    }
