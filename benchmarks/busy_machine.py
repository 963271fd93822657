"""What an answer takes beside other work, by how OpenMP's threads wait: `python -m benchmarks.busy_machine`.

Each row is a process of its own that answers the frames of a drawn video, with or without processes that do
nothing but take every core. The policies take turns, run by run. Prints medians and 95th percentiles over all
frames and writes build/benchmarks/busy_machine.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.report import print_table, write_json

# What OpenMP does by itself, what the product sets, and no spinning at all.
POLICIES = {"active": {"OMP_WAIT_POLICY": "ACTIVE"}, "ours": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}
_SET = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_WARM_UP = 3


def answer_times_s(frames: int) -> list[float]:
    """Answer a video in this process."""
    from benchmarks.videos import video
    from vlm_perception.engines.base import never_stop
    from vlm_perception.engines.factory import open_engine
    from vlm_perception.prompts.builder import build_prompt
    from vlm_perception.settings import Settings
    from vlm_perception.types import Request

    settings, prompt = Settings(), build_prompt("all objects")
    engine = open_engine(device="cpu")
    times_s = []
    for frame in video("slow", 4, frames + _WARM_UP, seed=3):
        began_s = time.perf_counter()
        engine.answer(Request(frame, prompt, settings.budget, settings.max_new_tokens), never_stop)
        times_s.append(time.perf_counter() - began_s)
    return times_s[_WARM_UP:]


def measured(policy: str, frames: int) -> list[float]:
    """Answer a video in a process with this policy; seconds."""
    command = [sys.executable, "-m", "benchmarks.busy_machine", "--child", "--frames", str(frames)]
    free = {name: value for name, value in os.environ.items() if name not in _SET}
    environment = {**free, **POLICIES[policy]}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    times_s: list[float] = json.loads(done.stdout)
    return times_s


@contextmanager
def others(count: int) -> Iterator[None]:
    """Keep `count` cores busy meanwhile."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", action="store_true", help="answer in this process and print seconds as JSON")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(answer_times_s(args.frames)))
        return
    rows = []
    cores = os.cpu_count() or 1
    for busy in (0, cores):
        times_s: dict[str, list[float]] = {policy: [] for policy in POLICIES}
        with others(busy):
            for _ in range(args.runs):
                for policy in POLICIES:
                    times_s[policy] += measured(policy, args.frames)
        active_s = float(np.median(times_s["active"]))
        for policy, found in times_s.items():
            median_s = float(np.median(found))
            row = {"busy_processes": busy, "policy": policy, "p50_ms": round(1e3 * median_s, 1)}
            row["p95_ms"] = round(1e3 * float(np.percentile(found, 95)), 1)
            rows.append({**row, "ratio_to_active": round(median_s / active_s, 3)})
    print(f"{cores} cores\n")
    print_table(rows)
    write_json("busy_machine", rows)


if __name__ == "__main__":
    main()
