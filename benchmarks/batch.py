"""Several requests in one batch against one by one: `python -m benchmarks.batch`.

Cameras of different sizes look at slowly moving scenes; every round asks about the newest frame of
each. `plain` and `drafted` answer one after another, without and with drafts, `batch` all at once, drafted.
Each round is answered in all three ways one after the other, so that a busy machine slows all of
them alike. Wall time is that of the whole round, from pixels to texts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import cv2
import torch

from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.videos import SPEEDS, video
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Answer, Frame, PixelBudget, Request

ROWS = (1, 2, 4, 8)
SIZES = ((640, 480), (480, 640), (1280, 480), (480, 480))
BUDGET = PixelBudget(224 * 224, 1024 * 1024)
MAX_NEW_TOKENS = 512
WARM_UP = 2


def rounds(kind: str, cameras: int, count: int, n_objects: int) -> list[list[Request]]:
    """Make the requests of each round, one a camera."""
    seen = [list(video(kind, n_objects, count, seed=300 + camera)) for camera in range(cameras)]
    prompt = build_prompt("all objects")
    return [
        [Request(_from(camera, frames[index]), prompt, BUDGET, MAX_NEW_TOKENS) for camera, frames in enumerate(seen)]
        for index in range(count)
    ]


def _from(camera: int, frame: Frame) -> Frame:
    size = SIZES[camera % len(SIZES)]
    return replace(frame, rgb=cv2.resize(frame.rgb, size), camera=f"/camera_{camera}")


def one_by_one(engine: TransformersEngine, requests: list[Request]) -> tuple[list[Answer], float]:
    """Answer one after another; answers, and seconds for all."""
    began_s = time.perf_counter()
    answers = [engine.answer(request, never_stop) for request in requests]
    return answers, time.perf_counter() - began_s


def together(engine: TransformersEngine, requests: list[Request]) -> tuple[list[Answer], float]:
    """Answer in one batch; answers, and seconds for all."""
    began_s = time.perf_counter()
    answers = engine.answer_batch(requests, [never_stop] * len(requests))
    return answers, time.perf_counter() - began_s


def measure(engines: dict[str, TransformersEngine], kind: str, rows: int, args: argparse.Namespace) -> dict[str, Any]:
    """Answer all rounds of one kind in all ways."""
    times: dict[str, list[float]] = {"plain": [], "drafted": [], "batch": []}
    same = True
    for index, requests in enumerate(rounds(kind, rows, args.rounds + WARM_UP, args.objects)):
        found = {name: one_by_one(engines[name], requests) for name in ("plain", "drafted")}
        found["batch"] = together(engines["batch"], requests)
        if index >= WARM_UP:
            for name, (_, wall_s) in found.items():
                times[name].append(wall_s)
        texts = [[answer.text for answer in answers] for answers, _ in found.values()]
        same = same and texts[0] == texts[1] == texts[2]
    pairs = list(zip(times["batch"], times["plain"], times["drafted"], strict=True))
    return {
        "video": kind,
        "rows": rows,
        **{f"{name}_ms": round(1e3 * statistics.median(found), 1) for name, found in times.items()},
        "batch_to_plain": round(statistics.median(batch / plain for batch, plain, _ in pairs), 3),
        "batch_to_drafted": round(statistics.median(batch / drafted for batch, _, drafted in pairs), 3),
        "identical": same,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="counted rounds")
    parser.add_argument("--objects", type=int, default=4, help="in each scene")
    parser.add_argument("--videos", nargs="+", choices=list(SPEEDS), default=["slow", "cuts"])
    parser.add_argument("--model", default=resolve_model("tiny"))
    args = parser.parse_args()
    silence_libraries()
    engines = {
        "plain": open_engine(args.model, drafting=False),
        "drafted": open_engine(args.model),
        "batch": open_engine(args.model),
    }
    found = [measure(engines, kind, rows, args) for kind in args.videos for rows in ROWS]
    print_table(found)
    write_json("batch", {"threads": torch.get_num_threads(), "rows": found})


if __name__ == "__main__":
    main()
