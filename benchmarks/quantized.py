"""What weights of fewer bits cost in boxes and time: `python -m benchmarks.quantized --scenes 40`.

The questions of `training.evaluate` on held-out scenes, answered by the engine with the weights as they are, in int8
and in int4, and read against the truth. Time is that of the processor, so that other work on the machine
does not count. One whose library is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, cast

from benchmarks.report import print_table, silence_libraries, write_json
from training.evaluate import Case, figures, make_cases
from training.judge import judge
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.quantization import held_bytes
from vlm_perception.errors import ModelLoadError
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Prompt, Request, Task

BUDGET = PixelBudget(224 * 224, 1024 * 1024)


def make_request(number: int, case: Case) -> Request:
    """Ask one question of the evaluation as a camera's frame would be asked."""
    asked = case.question.instruction
    frame = Frame(case.scene.rgb, FrameHeader(number, 0, "camera"), f"/camera_{number}", float(number))
    return Request(frame, Prompt(asked, Task.RAW, asked, ()), BUDGET, 300)


def measure(model: str, quantize: str, cases: list[Case]) -> dict[str, Any]:
    """Answer all cases one after the other."""
    engine = cast(TransformersEngine, open_engine(model, quantize=quantize))
    assert engine._generator is not None
    held = held_bytes(engine._generator._loaded.model)
    judged, began_s = [], time.process_time()
    for number, case in enumerate(cases):
        answer = engine.answer(make_request(number, case), never_stop)
        judged.append(judge(case.question, answer.text, case.scene, case.view))
    took_s = time.process_time() - began_s
    engine.close()
    keys = ("json_valid", "recall50", "mean_iou", "rejection")
    seen = figures(judged)
    row = {"quantize": quantize, "answers": len(cases)} | {key: seen[key] for key in keys}
    return row | {"weights, MB": round(held / 1e6, 2), "CPU s an answer": round(took_s / len(cases), 3)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--quantize", nargs="+", default=["none", "int8", "int4"])
    args = parser.parse_args()
    silence_libraries()
    cases, rows = make_cases(args.scenes), []
    for quantize in args.quantize:
        try:
            rows.append(measure(args.model, quantize, cases))
        except ModelLoadError as error:
            print(f"left out: {error}")
    print_table(rows)
    write_json("quantized", rows)


if __name__ == "__main__":
    main()
