"""What the engine for servers adds to a server: `python -m benchmarks.served_overhead`.

720p frames of a drawn scene go to `transformers serve` with the shipped checkpoint, by turns through the engine
(resized, encoded, sent, read, parsed) and as a prepared HTTP body whose answer is only received; and to the same
checkpoint in this process, without drafts. Printed: median times of one run, and what the engine takes beyond the
server.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.real_servers import Server, serve_transformers
from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.served_tiny import TINY_BUDGET, open_served
from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.openai.chat import Question
from vlm_perception.engines.openai.image import ImageFormat, encode_image
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene
from vlm_perception.types import WH, Frame, Request

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny"
IMAGE_WH = (1280, 720)
# All optional fields that transformers serve refuses, or does nothing with.
REFUSED = frozenset({"repetition_penalty", "logprobs", "stream_options"})


def timed(act: Callable[[], object]) -> float:
    """Do something, and return how long it took, seconds."""
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


def measure(server: Server, image_format: ImageFormat, prompt: str, runs: int, local: Engine) -> dict[str, Any]:
    """Ask the same of all three, by turns."""
    engine = open_served(server, server_image=image_format)
    scene, client = MovingScene(5, IMAGE_WH, n_objects=4), httpx.Client(timeout=600.0)
    took_s: dict[str, list[float]] = {"engine": [], "server": [], "process": []}
    model_wh: WH = (0, 0)
    for run in range(runs + 1):
        request = Request(Frame(scene.at(run * 0.2).rgb), build_prompt(prompt), TINY_BUDGET)
        model_wh = engine.blank_answer(request).model_wh
        image = encode_image(request.frame, model_wh, image_format)
        question = Question(
            request.prompt.instruction, image, f"image/{image_format}", model_wh, request.max_new_tokens
        )
        body = question.body(server.model, REFUSED)
        acts: dict[str, Callable[[], object]] = {
            "engine": partial(perceive, engine, request),
            "server": partial(client.post, f"{server.url}/chat/completions", json=body),
            "process": partial(perceive, local, request),
        }
        for name, act in acts.items():
            seconds = timed(act)
            # The first of each is made once.
            took_s[name] += [seconds] if run else []
    engine.close()
    medians = {name: 1000 * median(each) for name, each in took_s.items()}
    beyond = [1000 * (ours - theirs) for ours, theirs in zip(took_s["engine"], took_s["server"], strict=True)]
    return {
        "image": f"{image_format} {model_wh[0]}x{model_wh[1]}",
        "prompt": prompt,
        "in this process ms": round(medians["process"]),
        "server alone ms": round(medians["server"]),
        "engine and server ms": round(medians["engine"]),
        "beyond the server ms": round(median(beyond), 1),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    silence_libraries()
    local = open_engine(TINY, device="cpu", drafting=False)
    with serve_transformers(TINY) as server:
        rows = [
            measure(server, image_format, prompt, args.runs, local)
            for image_format in ("jpeg", "png")
            for prompt in ("red circle", "all objects")
        ]
    print_table(rows)
    write_json("served_overhead", {"server": f"transformers {server.version}", "rows": rows})


if __name__ == "__main__":
    main()
