"""Does it pay to have a server verify a draft? `python -m benchmarks.served_drafts`.

vLLM can be given the beginning of its own answer (`continue_final_message`) and tells the rank of every token of it
(`prompt_logprobs`): a draft is right as far as all ranks are 1, which one prefill finds out. What is right is kept, and
the rest is written from there. The draft is the answer about the frame before, in videos of known motion. Printed: how
often a whole draft is right, the share of it that is, and what an answer takes with drafts over without, both of one
run. Such questions cannot be streamed, and vLLM reads their prompt anew, image included.
"""

from __future__ import annotations

import argparse
import base64
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import httpx

from benchmarks.real_servers import Server, serve_vllm
from benchmarks.report import print_table, write_json
from benchmarks.served_tiny import TINY_WH
from benchmarks.videos import video
from vlm_perception.engines.openai.image import encode_image
from vlm_perception.prompts.builder import build_prompt

TINY = Path(__file__).resolve().parents[1] / "models" / "tiny"


@dataclass(frozen=True, slots=True)
class Written:
    """One reply: its text, what it took, and the server's own JSON."""

    text: str
    took_s: float
    body: dict[str, Any]


class Asker:
    """Asks one server about one frame, not streamed."""

    def __init__(self, server: Server) -> None:
        self._server, self._client = server, httpx.Client(timeout=600.0)

    def ask(self, content: list[dict[str, Any]], begin: str = "", **fields: Any) -> Written:
        """Ask, with the beginning of the answer where there is one."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if begin:
            messages.append({"role": "assistant", "content": begin})
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
        body = {"model": self._server.model, "messages": messages, "temperature": 0.0, "repetition_penalty": 1.0}
        began_s = time.perf_counter()
        response = self._client.post(f"{self._server.url}/chat/completions", json={**body, "max_tokens": 512, **fields})
        took_s = time.perf_counter() - began_s
        told = response.raise_for_status().json()
        return Written(told["choices"][0]["message"]["content"], took_s, told)


def accepted_text(verified: Written, prompt_tokens: int) -> str:
    """Return the beginning of a draft whose tokens are all of rank 1."""
    told, kept = verified.body, list[str]()
    drafted = zip(told["prompt_token_ids"][prompt_tokens:], told["prompt_logprobs"][prompt_tokens:], strict=True)
    for token_id, ranks in drafted:
        if ranks[str(token_id)]["rank"] != 1:
            break
        kept.append(ranks[str(token_id)]["decoded_token"])
    return "".join(kept)


def measure(asker: Asker, kind: str, n_objects: int, frames: int) -> dict[str, Any]:
    """Answer every frame of a video without and with a draft."""
    whole, kept, plain_s, drafted_s, same = list[bool](), list[float](), list[float](), list[float](), list[bool]()
    draft = ""
    for frame in video(kind, n_objects, frames, seed=3):
        url = "data:image/png;base64," + base64.b64encode(encode_image(frame, TINY_WH, "png")).decode()
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": build_prompt("all objects").instruction},
        ]
        plain = asker.ask(content)
        if draft:
            # The server keeps an image that it has seen; both ways find it kept.
            verified = asker.ask(content, draft, prompt_logprobs=0, return_token_ids=True)
            right, took_s = accepted_text(verified, plain.body["usage"]["prompt_tokens"]), verified.took_s
            text = draft + verified.text
            if right != draft:
                rest = asker.ask(content, right) if right else asker.ask(content)
                text, took_s = right + rest.text, took_s + rest.took_s
            whole.append(right == draft and not verified.text)
            kept.append(len(right) / len(draft))
            plain_s.append(plain.took_s)
            drafted_s.append(took_s)
            same.append(text == plain.text)
        draft = plain.text
    return {
        "video": kind,
        "objects": n_objects,
        "whole draft right": f"{fmean(whole):.0%}",
        "of a draft right": f"{fmean(kept):.0%}",
        "plain s": round(median(plain_s), 2),
        "time with drafts / without": round(sum(drafted_s) / sum(plain_s), 2),
        "texts equal": f"{sum(same)} of {len(same)}",
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=11)
    parser.add_argument("--videos", nargs="+", default=["static", "slow", "fast"])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4])
    args = parser.parse_args()
    with serve_vllm(TINY, 1) as (server,):
        asker = Asker(server)
        rows = [measure(asker, kind, number, args.frames) for kind in args.videos for number in args.objects]
    print_table(rows)
    write_json("served_drafts", {"server": f"vllm {server.version}", "rows": rows})


if __name__ == "__main__":
    main()
