"""Our parser against supervision's on the same replies: `python -m benchmarks.parser`.

The replies are fenced lists of the form Qwen2.5-VL was trained for, which both read without loss;
that is checked first. Ours is timed on the whole text and fed token by token (four characters
each), supervision's on the whole text. The three take turns in every run, so that a busy machine
slows all of them; rates are medians over the runs, ratios are medians of each run's own ratio.
Processor time is taken, not wall time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import supervision as sv

from vlm_perception.replies.reader import AnswerReader, parse_answer

MODEL_WH, IMAGE_WH = (1344, 756), (1920, 1080)
COUNTS = (1, 10, 100, 1000)
TOKEN_CHARACTERS = 4
OBJECTS_PER_RUN = 3000


def reply_of(count: int) -> str:
    """Write a list of distinct objects."""
    rng = np.random.default_rng(count)
    lines = []
    for number in range(count):
        x, y = int(rng.integers(0, 1200)), int(rng.integers(0, 700))
        box = [x, y, x + int(rng.integers(8, 100)), y + int(rng.integers(8, 50))]
        lines.append(f'\t{{"bbox_2d": {box}, "label": "red cart {number}"}}')
    return "```json\n[\n" + ",\n".join(lines) + "\n]\n```"


def ours(text: str) -> int:
    """Read the whole text."""
    return len(parse_answer(text, model_wh=MODEL_WH, image_wh=IMAGE_WH).objects)


def ours_by_token(text: str) -> int:
    """Read the text as it would arrive while the model writes it."""
    reader = AnswerReader(model_wh=MODEL_WH, image_wh=IMAGE_WH)
    for at in range(0, len(text), TOKEN_CHARACTERS):
        reader.feed(text[at : at + TOKEN_CHARACTERS])
    return len(reader.finish().objects)


def theirs(text: str) -> int:
    """Read the whole text with supervision."""
    return len(sv.Detections.from_vlm(sv.VLM.QWEN_2_5_VL, text, input_wh=MODEL_WH, resolution_wh=IMAGE_WH))


READERS: dict[str, Callable[[str], int]] = {"ours": ours, "ours_by_token": ours_by_token, "supervision": theirs}


def measure(count: int, runs: int) -> dict[str, float]:
    """Time every reader on one reply; objects per second and ratios."""
    text = reply_of(count)
    for name, read in READERS.items():
        if read(text) != count:
            raise SystemExit(f"{name} does not read all {count} objects of the reply")
    repeats = max(1, OBJECTS_PER_RUN // count // 3 if count < 10 else OBJECTS_PER_RUN // count)
    rates: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(runs):
        for name, read in READERS.items():
            start_s = time.process_time()
            for _ in range(repeats):
                read(text)
            rates[name].append(count * repeats / (time.process_time() - start_s))
    row = {f"{name}_objects_per_s": round(statistics.median(rate)) for name, rate in rates.items()}
    for name in ("ours", "ours_by_token"):
        pairs = zip(rates[name], rates["supervision"], strict=True)
        row[f"{name}_over_supervision"] = round(statistics.median(own / other for own, other in pairs), 2)
    return {"objects": count, **row}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision announces renamed things
        rows = [measure(count, args.runs) for count in COUNTS]
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{value:g}" if value < 1000 else f"{value:.0f}" for value in row.values()) + " |")
    output = Path("build/benchmarks/parser.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"runs": args.runs, "replies": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
