"""What a `watch` prompt costs beside one about a single frame: `python -m benchmarks.clips`.

The same moving scene, once as its last frame and once as clips of more and more frames, in turns, so that a busy
machine slows all alike. Times run from pixels to the model having read the whole prompt; every clip has new frames.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

import torch

from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.videos import video
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Clip, Frame, Request

COUNTS = (1, 4, 8, 16, 32)
RATE_HZ = 2


def request_of(frames: list[Frame], count: int, settings: Settings) -> Request:
    """Ask about the last `count` frames, about one as a single image."""
    prompt = build_prompt("watch: what happened?")
    if count == 1:
        return Request(frames[-1], prompt, settings.budget, 1)
    clip = Clip(tuple(frames[-count:]), tuple(index / RATE_HZ for index in range(count)))
    return Request(frames[-1], prompt, settings.watch_budget(settings.budget, count), 1, clip=clip)


def read_s(engine: TransformersEngine, request: Request) -> float:
    """Return the time until the model had read the prompt, seconds."""
    timings = engine.answer(request, never_stop).timings
    return timings.preprocess_s + timings.prefill_s


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", default=resolve_model("tiny"))
    parser.add_argument("--max-pixels", type=int, default=Settings().watch_max_pixels, help="of the whole clip")
    args = parser.parse_args()
    silence_libraries()
    settings = Settings(watch_max_pixels=args.max_pixels)
    engine = open_engine(args.model, drafting=False)
    frames = list(video("slow", 4, max(COUNTS) + args.runs, seed=5))
    times_s: dict[int, list[float]] = {count: [] for count in COUNTS}
    for run in range(args.runs):
        shown = frames[: max(COUNTS) + run]
        shown[-1] = replace(shown[-1], rgb=shown[-1].rgb.copy())
        for count in COUNTS:
            times_s[count].append(read_s(engine, request_of(shown, count, settings)))
    rows = []
    for count in COUNTS:
        width, height = engine.blank_answer(request_of(frames, count, settings)).model_wh
        median_s = statistics.median(times_s[count])
        rows.append(
            {
                "frames": count,
                "model_wh": f"{width}x{height}",
                "read_ms": round(1e3 * median_s, 1),
                "of_one": round(median_s / statistics.median(times_s[1]), 2),
            }
        )
    print_table(rows)
    write_json("clips", {"threads": torch.get_num_threads(), "rate_hz": RATE_HZ, "rows": rows})


if __name__ == "__main__":
    main()
