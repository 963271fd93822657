"""Measure a card, in less than 8 minutes: `python -m benchmarks.gpu`.

Prints a table and writes `build/benchmarks/gpu.json`, anew after each section. `limit_ms` is what
the bytes or the arithmetic of a thing take at the rates that a copy and a product reached on the
same card; of an answer, what its passes take for the weights. `identical` says how many answers
agree to the last bit with plain eager passes, or, for `generate`, token for token. Without a card:
`python -m benchmarks.gpu --device cpu --shape tiny`.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.exact import Exact
from benchmarks.gpu.failures import Failures
from benchmarks.gpu.limits import Limits
from benchmarks.gpu.sections import Measurement, Report, print_all, run_all
from benchmarks.gpu.speed import GENERATE, GRAPH, OURS, Speed
from benchmarks.gpu.subject import IN_SHORT, ON_A_CARD, Subjects, wide_tiny
from benchmarks.report import FOLDER, silence_libraries
from benchmarks.shapes import SHAPE_3B, SHAPE_7B, Shape, tiny_shape

# Less than the 8 minutes that are promised: starting and ending take some.
TOTAL_S = 450.0
# Of more threads a model as small as the tiny one gets slower.
THREADS = 4


def sections_of(shapes: Sequence[Shape], subjects: Subjects) -> list[Measurement]:
    """List what is measured, in order of worth; budgets are about twice what is expected on an H200."""
    limits, first = Limits(subjects.device), shapes[0]
    speeds = [Speed(shape, subjects, limits) for shape in shapes]
    exact, failures = Exact(subjects, first), Failures(subjects)

    sections = [
        Measurement("limits", 10, limits.measure),
        Measurement(f"passes {first.name}", 30, speeds[0].passes),
        Measurement("tiny, exact", 70, exact.ours),
        Measurement(f"answers {first.name}", 90, speeds[0].answers),
        Measurement(f"images {first.name}", 25, speeds[0].images),
        Measurement(f"own choices {first.name}", 25, exact.large),
        Measurement("out of memory", 20, failures.out_of_memory),
        Measurement("two models", 30, exact.side_by_side),
        Measurement("lost device", 45, failures.lost_device),
        Measurement("device and host", 50, exact.devices),
    ]
    for shape, speed in zip(shapes[1:], speeds[1:], strict=True):
        sections += [
            Measurement(f"passes {shape.name}", 20, speed.passes),
            Measurement(f"images {shape.name}", 20, speed.images),
            Measurement(f"answers {shape.name}", 50, speed.answers),
        ]
    return [
        *sections,
        Measurement("memory over many answers", 45, failures.flat),
        Measurement(f"compiled {first.name}", 100, speeds[0].compiled),
    ]


def judge_aims(report: Report) -> None:
    """Put what was aimed at on an H200 beside what was reached there."""

    def told(aim: str, reached: float | None, at_most: float, unit: str) -> None:
        met = None if reached is None else reached <= at_most
        value = None if reached is None else f"{reached:.2f} {unit}"
        report.aims.append({"aim": aim, "at most": f"{at_most:g} {unit}", "reached": value, "met": met})

    for row in report.rows:
        if row["model"] == "3B" and row["method"] == GRAPH and row["limit_ms"] and row["ms"]:
            told(f"3B, {row['what']}, of its limit", row["ms"] / row["limit_ms"], 2.0, "times")
        if row["model"] == "3B" and row["method"] == OURS and row["what"] == "prefill of 896x896, 1024 tokens":
            told("3B, prefill of 1,024 image tokens", row["ms"], 40.0, "ms")
    what = "answer, 12 objects, slow"
    ours, theirs = (report.ms("3B", what, method) for method in (GRAPH, GENERATE))
    told(f"3B, {what}, of generate", ours / theirs if ours and theirs else None, 0.1, "times")


def finish(report: Report) -> None:
    """Judge, write and print what there is."""
    judge_aims(report)
    report.write()
    print_all(report)


def facts_of(device: str) -> dict[str, Any]:
    """Name the device and what runs on it."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    packages = ("torch", "transformers", "numpy")
    versions = {"python": platform.python_version(), **{package: version(package) for package in packages}}
    return {"device": name, "kind": device, "versions": {**versions, "cuda": torch.version.cuda}}


def main() -> None:
    """Command line."""
    shapes = {"3b": SHAPE_3B, "7b": SHAPE_7B, "tiny": tiny_shape()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shape", nargs="+", choices=list(shapes), default=["3b", "7b"])
    parser.add_argument("--layers", type=int, help="cut the shapes to so many, for a look at them without a card")
    parser.add_argument("--total-s", type=float, default=TOTAL_S, help="ends itself after so many seconds")
    parser.add_argument("--output", type=Path, default=FOLDER / "gpu.json")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; --device cpu --shape tiny runs everything in short")
    silence_libraries()
    torch.set_num_threads(min(THREADS, torch.get_num_threads()))
    chosen = [shapes[name].cut(args.layers) if args.layers else shapes[name] for name in args.shape]
    report = Report(args.output, facts_of(args.device))
    with wide_tiny() as folder:
        subjects = Subjects(args.device, folder, ON_A_CARD if args.device == "cuda" else IN_SHORT)
        run_all(sections_of(chosen, subjects), report, args.total_s, finish)


if __name__ == "__main__":
    main()
