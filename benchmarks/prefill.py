"""What keeping the beginnings of prompts saves: `python -m benchmarks.prefill`.

Each saving is timed beside its opposite, frame by frame in one run, so that a busy machine slows
both alike. Times run from pixels to the model having read the whole prompt.

    constant   a new frame, with the text before the image known, against nothing known
    frame      a second prompt about a frame, against the same prompt about a frame not seen before

With `--shape-3b` both are also timed on the *true 3B shape* with random weights in
bfloat16 (8 GB of memory, minutes on a CPU): 36 layers, 32 vision blocks, tokens made up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.shapes import SHAPE_3B, random_model
from benchmarks.videos import video
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.prefill import Prefill
from vlm_perception.engines.transformers.preprocessor import Patches, PromptTokens
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Answer, Frame, FrameHeader, PixelBudget, Request

BUDGET = PixelBudget(224 * 224, 1024 * 1024)
MAX_NEW_TOKENS = 512
TEXT_BEFORE, TEXT_AFTER = 15, 60

Pair = tuple[float, float]


def time_tiny(model: str, frames: int) -> dict[str, list[Pair]]:
    """Time the engine on the frames of a video; (with, without) in seconds, a pair a frame."""
    engine = open_engine(model, drafting=False)
    pairs: dict[str, list[Pair]] = {"constant": [], "frame": []}
    # Each frame serves once: the one before it is what was seen when it comes.
    shown = list(video("slow", 4, 2 * frames + 1, seed=5))
    engine.answer(ask(shown[0], "all objects"), never_stop)
    for first, second in zip(shown[1::2], shown[2::2], strict=True):
        known = read_s(engine.answer(ask(first, "red circle", 1), never_stop))
        engine.forget()
        unknown = read_s(engine.answer(ask(first, "red circle", 1), never_stop))
        pairs["constant"].append((known, unknown))

        engine.answer(ask(second, "all objects", 1), never_stop)
        same_frame = read_s(engine.answer(ask(second, "blue square", 1), never_stop))
        other = replace(second, rgb=second.rgb[:, ::-1])
        pairs["frame"].append((same_frame, read_s(engine.answer(ask(other, "blue square", 1), never_stop))))
    return pairs


def ask(frame: Frame, text: str, limit: int = MAX_NEW_TOKENS) -> Request:
    """Ask about a frame."""
    return Request(frame, build_prompt(text), BUDGET, limit)


def read_s(answer: Answer) -> float:
    """Return the time until the model had read the prompt, seconds."""
    return answer.timings.preprocess_s + answer.timings.prefill_s


@torch.inference_mode()
def time_3b(runs: int, cells: int) -> dict[str, list[Pair]]:
    """Time `Prefill` on a square image of `cells` x `cells` tokens; (with, without) in seconds, a pair a run."""
    model = random_model(SHAPE_3B)
    values = 3 * 2 * 14 * 14
    pairs: dict[str, list[Pair]] = {"constant": [], "frame": []}
    prompt = PromptTokens(tuple(range(TEXT_BEFORE)), tuple(range(100, 100 + TEXT_AFTER)))
    wh = (28 * cells, 28 * cells)
    for run in range(runs):
        frames = [Frame(np.zeros((1, 1, 3), np.uint8), FrameHeader(run, 0, ""), "/image", place) for place in range(2)]
        patches = Patches(torch.randn(4 * cells**2, values), (1, 2 * cells, 2 * cells))
        prefill = Prefill(model)
        unknown = timed(lambda p=prefill, f=frames[0], x=patches: p.read(f, wh, prompt, x))
        known = timed(lambda p=prefill, f=frames[1], x=patches: p.read(f, wh, prompt, x))
        same = timed(lambda p=prefill, f=frames[1]: p.find(f, wh, prompt))
        pairs["constant"].append((known, unknown))
        pairs["frame"].append((same, known))
    return pairs


def timed(action: Callable[[], object]) -> float:
    """Return how long an action takes, seconds."""
    began_s = time.perf_counter()
    action()
    return time.perf_counter() - began_s


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--model", default=resolve_model("tiny"))
    parser.add_argument("--shape-3b", action="store_true")
    parser.add_argument("--cells", type=int, default=12, help="side of the 3B shape's image, in image tokens")
    parser.add_argument("--runs", type=int, default=3, help="of the 3B shape")
    args = parser.parse_args()
    silence_libraries()
    measured = {Path(args.model).name: time_tiny(args.model, args.frames)}
    if args.shape_3b:
        measured[f"3B shape, {args.cells**2} image tokens"] = time_3b(args.runs, args.cells)
    rows = [
        {
            "model": model,
            "kept": kept,
            "with_ms": round(1e3 * statistics.median(pair[0] for pair in pairs), 2),
            "without_ms": round(1e3 * statistics.median(pair[1] for pair in pairs), 2),
            "ratio": round(statistics.median(pair[0] / pair[1] for pair in pairs), 3),
            "pairs": len(pairs),
        }
        for model, found in measured.items()
        for kept, pairs in found.items()
    ]
    print_table(rows)
    write_json("prefill", {"threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
