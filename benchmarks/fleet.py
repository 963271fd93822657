"""Many robots on a few servers: `python -m benchmarks.fleet`.

Each robot is the engine's own pool of servers, with its own connections and its own view of who can be asked; all run
in one event loop. They ask real vLLM servers with the shipped checkpoint about drawn scenes, each at its own moment of
the period. Half-way one server is killed. Printed: answers, latency and fairness (Jain's index over the robots'
answers, 1 when all have as many) before and after, and what became of the questions that the dead server had.

Source of the index: R. Jain, D. Chiu, W. Hawe, "A quantitative measure of fairness and discrimination", DEC TR-301.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from benchmarks.real_servers import Server, serve_vllm
from benchmarks.report import print_table, write_json
from benchmarks.served_tiny import TINY_BUDGET, TINY_WH, request_about
from vlm_perception.engines.openai.chat import Delta, Question
from vlm_perception.engines.openai.image import encode_image
from vlm_perception.engines.openai.inspection import ServedModel
from vlm_perception.engines.openai.pool import Begun, ServerPool
from vlm_perception.errors import ServerUnavailableError
from vlm_perception.settings import Settings

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of one robot.

    Attributes:
        robot: Its number.
        asked_s: Since the simulation began.
        latency_s: Until the whole answer; None where there was none.
        servers: How many were asked.
    """

    robot: int
    asked_s: float
    latency_s: float | None
    servers: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """What asks what.

    Attributes:
        settings: How servers are asked.
        urls: Their base URLs.
        robots: How many.
        period_s: Between two questions of one robot; those that fall due while it still waits are left out.
        seconds: For how long questions are asked.
    """

    settings: Settings
    urls: tuple[str, ...]
    robots: int
    period_s: float
    seconds: float


async def simulate(fleet: Fleet, kill: Callable[[], None]) -> list[Asked]:
    """Have all robots ask, and call `kill` half-way."""
    # All would find out the same of the servers.
    first = ServerPool(fleet.urls, fleet.settings, "")
    await first.open()
    served = [server.served for server in first.servers]
    await first.close()
    pools, asked = [_pool(fleet, served) for _ in range(fleet.robots)], list[Asked]()
    async with anyio.create_task_group() as watching:
        async with anyio.create_task_group() as asking:
            began_s = time.monotonic()
            for number, pool in enumerate(pools):
                watching.start_soon(pool.watch)
                asking.start_soon(_robot, number, pool, fleet, began_s, asked)
            await anyio.sleep(fleet.seconds / 2)
            kill()
        watching.cancel_scope.cancel()
    for pool in pools:
        await pool.close()
    return asked


def _pool(fleet: Fleet, served: Sequence[ServedModel | None]) -> ServerPool:
    pool = ServerPool(fleet.urls, fleet.settings, "")
    for server, known in zip(pool.servers, served, strict=True):
        server.served = known
        pool.family = pool.family or (known.family if known else None)
    return pool


def _question(number: int) -> Question:
    request = request_about(number, "red circle")
    image = encode_image(request.frame, TINY_WH, "jpeg")
    return Question(request.prompt.instruction, image, "image/jpeg", TINY_WH, 128)


async def _robot(number: int, pool: ServerPool, fleet: Fleet, began_s: float, asked: list[Asked]) -> None:
    question, due_s = _question(number), number / fleet.robots * fleet.period_s
    while due_s < fleet.seconds:
        await anyio.sleep(max(0.0, began_s + due_s - time.monotonic()))
        asked_s, servers = time.monotonic(), list[str]()

        def hear(event: Begun | Delta, told: list[str] = servers) -> None:
            told += [event.url] if isinstance(event, Begun) else []

        try:
            await pool.ask(question, asked_s + fleet.settings.max_age_s, hear)
        except ServerUnavailableError:
            latency_s = None
        else:
            latency_s = time.monotonic() - asked_s
        asked.append(Asked(number, asked_s - began_s, latency_s, len(servers)))
        due_s = max(due_s + fleet.period_s, time.monotonic() - began_s)


def row(name: str, asked: Sequence[Asked], robots: int) -> dict[str, Any]:
    """Sum up some questions."""
    latencies = [each.latency_s for each in asked if each.latency_s is not None]
    counts = np.bincount([each.robot for each in asked if each.latency_s is not None], minlength=robots)
    p50, p95 = np.percentile(latencies, (50, 95)).round(2).tolist() if latencies else (None, None)
    return {
        "questions": name,
        "asked": len(asked),
        "answered": len(latencies),
        "of them by another server": sum(each.servers > 1 for each in asked if each.latency_s is not None),
        "lost": len(asked) - len(latencies),
        "p50 s": p50,
        "p95 s": p95,
        "fewest and most a robot": f"{counts.min()} to {counts.max()}",
        "fairness": round(float(counts.sum() ** 2 / (robots * np.square(counts).sum())), 3) if counts.any() else None,
    }


def measure(servers: Sequence[Server], period_s: float, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the simulation against servers and sum it up; the first server is killed half-way."""
    settings = Settings(
        model=servers[0].url,
        served_model=servers[0].model,
        model_family="qwen2_5_vl",
        max_age_s=args.max_age_s,
        server_stall_s=args.stall_s,
        # The first question to a server that has just started, on cores that others use, too.
        timeout_s=600.0,
        min_pixels=TINY_BUDGET.min_pixels,
        max_pixels=TINY_BUDGET.max_pixels,
    )
    fleet = Fleet(settings, tuple(server.url for server in servers), args.robots, period_s, args.seconds)
    asked = anyio.run(simulate, fleet, servers[0].kill)
    half_s = args.seconds / 2
    before = [each for each in asked if each.latency_s is not None and each.asked_s + each.latency_s < half_s]
    open_then = [each for each in asked if each.asked_s < half_s and each not in before]
    after = [each for each in asked if each.asked_s >= half_s]
    parts = {"ended before": before, "open when a server was killed": open_then, "asked afterwards": after}
    load = {"questions a second": round(args.robots / period_s, 1)}
    return [load | row(name, part, args.robots) for name, part in parts.items()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, default=100)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument(
        "--period-s", type=float, nargs="+", default=[40.0, 10.0], help="between two questions of one robot"
    )
    parser.add_argument("--seconds", type=float, default=80.0)
    parser.add_argument("--max-age-s", type=float, default=20.0, help="no server is asked about an older frame")
    parser.add_argument(
        "--stall-s", type=float, default=20.0, help="a server that tells nothing for so long is given up"
    )
    args = parser.parse_args()
    rows, version = list[dict[str, Any]](), ""
    for period_s in args.period_s:
        with serve_vllm(TINY, args.servers) as servers:
            rows += measure(servers, period_s, args)
            version = servers[0].version
    print_table(rows)
    write_json("fleet", {"arguments": vars(args), "server": f"vllm {version}", "rows": rows})


if __name__ == "__main__":
    main()
