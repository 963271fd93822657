"""What the rows of a decoder pass cost on this machine: `python -m benchmarks.pass_cost`.

All passes of the decoder have one shape (`engines/transformers/decoder_pass.py`); this is where its numbers of rows and
places come from. Passes of several shapes are timed in turn, for the tiny model and for the true 3B shape: random
weights in bfloat16, all 36 layers and the whole vocabulary, 7 GB of memory. The prompt before them is random numbers,
which cost what real ones cost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.shapes import SHAPE_3B, random_model
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.decoder_pass import Decoder, PassShape, PassToken
from vlm_perception.engines.transformers.loading import load_checkpoint
from vlm_perception.engines.transformers.prefill import Prefix

ROWS = (8, 16, 32, 64)
BUCKETS = (256, 1024)


def model_3b() -> Any:
    """Make the decoder, with next to nothing of the vision tower."""
    return random_model(SHAPE_3B.cut(SHAPE_3B.text["num_hidden_layers"], blocks=1))


def random_prefix(model: Any, length: int) -> Prefix:
    """Make keys and values."""
    text = model.config.get_text_config()
    head = text.hidden_size // text.num_attention_heads
    states = torch.randn(2, text.num_hidden_layers, 1, text.num_key_value_heads, length, head, dtype=model.dtype)
    return Prefix(tuple(zip(*states, strict=True)), length, length)


def time_passes(model: Any, length: int, runs: int) -> dict[PassShape, float]:
    """Time passes of each shape in turn behind a prompt of so many tokens; median seconds."""
    decoder, shapes = Decoder(model), [PassShape(rows, bucket) for rows in ROWS for bucket in BUCKETS]
    decoder.load(0, random_prefix(model, length))
    times: dict[PassShape, list[float]] = {shape: [] for shape in shapes}
    for run in range(runs + 1):
        for shape, found in times.items():
            decoder.shape = shape
            tokens = [PassToken(run, length + row, length + row, slot=0) for row in range(shape.rows)]
            began_s = time.perf_counter()
            decoder.read(tokens)
            if run:
                found.append(time.perf_counter() - began_s)
    return {shape: statistics.median(found) for shape, found in times.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of the 3B shape; the tiny model has ten times as many")
    parser.add_argument("--tiny-only", action="store_true", help="leave the 3B shape out")
    args = parser.parse_args()
    silence_libraries()
    tiny = load_checkpoint(find_checkpoint("tiny"), "cpu", "auto").model
    measured = {"tiny": time_passes(tiny, 130, 10 * args.runs)}
    if not args.tiny_only:
        measured["3B shape"] = time_passes(model_3b(), 980, args.runs)
    rows = [
        {
            "model": name,
            "rows": shape.rows,
            "places": shape.bucket_of(130 if name == "tiny" else 980),
            "pass_ms": round(1e3 * pass_s, 2),
            "in_passes_of_8_rows": round(pass_s / times[PassShape(ROWS[0], BUCKETS[0])], 3),
        }
        for name, times in measured.items()
        for shape, pass_s in times.items()
    ]
    print_table(rows)
    write_json("pass_cost", {"threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
