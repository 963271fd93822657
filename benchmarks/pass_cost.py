"""What one verify pass costs in the true 3B shape on this machine: `python -m benchmarks.pass_cost`.

The language model of Qwen2.5-VL-3B-Instruct with random weights in bfloat16, all 36 layers and the
whole vocabulary; the vision tower is not needed behind the prefill. Its cache holds a prefix of
1,000 tokens (random numbers, which cost what real ones cost). Needs 7 GB of memory.

Measured: the time of a pass over 1 to 64 tokens, here and for the tiny model. Inferred: the gain on
the real model, as the tokens per pass that `benchmarks.decoding` measured with the tiny model,
divided by the cost of such a pass in passes over one token. It holds as far as drafts agree as
often with the real model.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, DynamicCache

from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.shapes import SHAPE_3B, random_model
from vlm_perception.startup.arguments import resolve_model

LENGTHS = (1, 8, 16, 32, 64)


def text_model_3b() -> Any:
    """Make the language model, with next to nothing of the vision tower."""
    return random_model(SHAPE_3B.cut(SHAPE_3B.text["num_hidden_layers"], blocks=1)).model.language_model


def prefix_of(model: Any, length: int) -> DynamicCache:
    """Fill a cache with random keys and values."""
    config, cache = model.config, DynamicCache()
    head = config.hidden_size // config.num_attention_heads
    for layer in range(config.num_hidden_layers):
        states = torch.randn(2, 1, config.num_key_value_heads, length, head).to(model.dtype)
        cache.update(states[0], states[1], layer)
    return cache


@torch.inference_mode()
def time_passes(model: Any, prefix: int, runs: int) -> dict[int, float]:
    """Time passes of each length in turn, with the choice of all tokens; median seconds by length."""
    cache = prefix_of(model, prefix)
    times: dict[int, list[float]] = {length: [] for length in LENGTHS}
    for run in range(runs + 1):
        for length, found in times.items():
            ids = torch.randint(0, model.config.vocab_size, (1, length))
            places = torch.arange(prefix, prefix + length).expand(3, 1, -1)
            began_s = time.perf_counter()
            seen = model(input_ids=ids, position_ids=places, past_key_values=cache, use_cache=True)
            torch.nn.functional.linear(seen.last_hidden_state[0], model.embed_tokens.weight).float().argmax(-1)
            cache.crop(-length)
            if run:
                found.append(time.perf_counter() - began_s)
    return {length: statistics.median(found) for length, found in times.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--prefix", type=int, default=1000)
    parser.add_argument("--tiny-only", action="store_true", help="leave the 3B shape out")
    args = parser.parse_args()
    silence_libraries()
    tiny = AutoModelForImageTextToText.from_pretrained(resolve_model("tiny")).eval().model.language_model
    measured = {"tiny": time_passes(tiny, 130, 10 * args.runs)}
    if not args.tiny_only:
        measured["3B shape"] = time_passes(text_model_3b(), args.prefix, args.runs)
    rows = [
        {"model": name, "tokens": length, "pass_s": round(pass_s, 5), "in_passes_of_one": round(pass_s / times[1], 3)}
        for name, times in measured.items()
        for length, pass_s in times.items()
    ]
    print(f"Measured, {torch.get_num_threads()} threads, median of {args.runs} runs (tiny: {10 * args.runs}):\n")
    print_table([{**row, "tokens_per_pass_time": round(row["tokens"] / row["in_passes_of_one"], 2)} for row in rows])
    print(
        "\nInferred, not measured: where drafts agree as with the tiny model, decoding on the real model gets faster\n"
        "by (tokens per pass in build/benchmarks/decoding.json) / (the cost above at the length of its drafts)."
    )
    write_json("pass_cost", {"threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
