"""Which server can what, with the shipped checkpoint behind each: `python -m benchmarks.servers`.

`make test-servers` runs it. Each server is asked through the engine, and held to the same checkpoint in this process:

- `text_equal`: answers that are the same, character by character;
- `logprob_error`: the largest difference of a token's log-probability; none where a server does not tell them;
- `stream`: pieces in which an answer comes, mean;
- `abort`: seconds of CPU that the server spends on an answer of 291 tokens after it is stopped at its fifth piece, and
  what it spends from there where it is not stopped;
- `token_count`: by what the size of the image that the server made is checked;
- `thinking_off`: whether the server hands the switch to the chat template, which here thinks unless it is told not to.

The table goes to build/benchmarks/servers.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.real_servers import SERVERS_VENV, Server, serve_router, serve_transformers, serve_vllm
from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.served_tiny import open_served, request_about
from benchmarks.thinking_checkpoint import write_thinking_checkpoint
from vlm_perception.engines.base import Engine, never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.types import Token

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny"
SEEDS = range(9000, 9005)
PROMPTS = ("red circle", "all objects", "how many circles?", "红色的圆形")
# So many that the answer is long.
LONG_SEED, LONG_OBJECTS = 9001, 20
STOPPED_AT = 5
_QUIET_S, _LONGEST_WATCH_S = 1.0, 60.0


def judge(server: Server, group: tuple[Server, ...], tiny: Engine) -> dict[str, Any]:
    """Ask one server; returns its row.

    Args:
        server: Is asked.
        group: All servers that work when it is asked.
        tiny: The same checkpoint in this process.
    """
    engine = open_served(server)
    equal, errors, pieces = 0, [], []
    for request in (request_about(seed, prompt) for prompt in PROMPTS for seed in SEEDS):
        came: list[str] = []
        theirs = engine.answer(request, never_stop, lambda chunk, _, came=came: came.append(chunk))
        ours = tiny.answer(request, never_stop)
        pieces.append(sum(map(bool, came)))
        same = theirs.text == ours.text
        equal += same
        if same and theirs.tokens:
            pairs = zip(theirs.tokens, ours.tokens, strict=True)
            errors.append(max(abs(told.logprob - own.logprob) for told, own in pairs))
    row = {
        "server": server.name,
        "version": server.version,
        "text_equal": f"{equal} of {len(pieces)}",
        "logprob_error": f"{max(errors):.1e}" if errors else None,
        "stream": round(sum(pieces) / len(pieces), 1),
        "abort": f"{cpu_after_s(engine, group, stop=True):.2f} s of {cpu_after_s(engine, group, stop=False):.2f} s",
        "token_count": engine.describe()["probe"].rpartition("seen by ")[2],
        "thinking_off": hands_switch_on(server),
    }
    engine.close()
    return row


def cpu_after_s(engine: Engine, group: tuple[Server, ...], *, stop: bool) -> float:
    """Return the CPU seconds of the servers from the fifth piece of a long answer until they are quiet."""
    request = replace(request_about(LONG_SEED, "all objects", n_objects=LONG_OBJECTS), max_new_tokens=400)
    came: list[str] = []
    began_s: list[float] = []

    def collect(chunk: str, tokens: tuple[Token, ...]) -> None:
        came.append(chunk)
        if len(came) == STOPPED_AT:
            began_s.append(_cpu_s(group))

    engine.answer(request, (lambda: len(came) >= STOPPED_AT) if stop else never_stop, collect)
    before_s, deadline_s = _cpu_s(group), time.monotonic() + _LONGEST_WATCH_S
    while time.monotonic() < deadline_s:
        time.sleep(_QUIET_S)
        now_s = _cpu_s(group)
        if now_s - before_s < _QUIET_S / 20:
            break
        before_s = now_s
    return now_s - began_s[0]


def hands_switch_on(server: Server) -> bool:
    """Whether a question with thinking switched off is another prompt than one without the switch."""
    body = {"model": server.model, "messages": [{"role": "user", "content": "red circle"}], "max_tokens": 1}
    lengths = [
        httpx.post(f"{server.url}/chat/completions", json={**body, **switch}, timeout=60.0).json()["usage"]
        for switch in ({}, {"chat_template_kwargs": {"enable_thinking": False}})
    ]
    return bool(lengths[0]["prompt_tokens"] > lengths[1]["prompt_tokens"])


@contextmanager
def thinking_tiny() -> Iterator[Path]:
    """Make a copy of the shipped checkpoint that thinks unless it is told not to."""
    with tempfile.TemporaryDirectory() as folder:
        yield write_thinking_checkpoint(TINY, Path(folder) / "tiny")


def _cpu_s(group: tuple[Server, ...]) -> float:
    """CPU time of servers and their children so far, seconds."""
    parents = [psutil.Process(server.pid) for server in group]
    family = [*parents, *(child for parent in parents for child in parent.children(recursive=True))]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def main() -> None:
    """Ask one server after the other and print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    silence_libraries()
    rows = []
    tiny = open_engine(TINY)
    with thinking_tiny() as checkpoint:
        with serve_transformers(checkpoint) as server:
            rows.append(judge(server, (server,), tiny))
        if SERVERS_VENV.is_dir():
            with serve_vllm(checkpoint, 2) as pair, serve_router(pair) as router:
                rows.append(judge(pair[0], pair[:1], tiny))
                rows.append(judge(router, (router, *pair), tiny))
    print_table(rows)
    write_json("servers", rows)


if __name__ == "__main__":
    main()
