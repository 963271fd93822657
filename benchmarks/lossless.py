"""Proof that drafting changes no bit of an answer: `python -m benchmarks.lossless --frames 1000`.

Every frame of moving scenes, in which things come and go, is answered with all sources of drafts,
without a draft, and in a batch beside the frame before it, for every task in turn. The program fails
on any difference in a text or in the last bit of a log-probability, in every number format. The
drafted answers are also held against transformers' own `generate`, whose passes have other shapes:
where its two highest logits are closer than what the order of sums makes, either token is right. In
float32 it fails on any other difference; in coarser formats it counts them and shows the gap.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import cast

import torch

from benchmarks.plain import TIE, PlainAnswer, PlainModel, first_difference
from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.videos import come_and_go, video
from vlm_perception.engines.base import BatchEngine, never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Answer, Frame, PixelBudget, Request

PROMPTS = (
    "all objects",
    "how many objects are there?",
    "each object, and describe it",
    "point to the wheels of the cart",
    "找出所有物体",
    "red circle; blue square",
    "what is in the picture?",
    "图中有多少个物体？",
    "the face's eyes, as points",
    "raw: Outline the position of each cart and output all the coordinates in JSON format.",
)
FRAMES_OF_VIDEO = 20
BUDGET = PixelBudget(224 * 224, 1024 * 1024)
MAX_NEW_TOKENS = 256


@dataclass(slots=True)
class Count:
    """What was seen of one prompt."""

    frames: int = 0
    tokens: int = 0
    passes: int = 0
    inexact: int = 0
    ties: int = 0
    differences: int = 0


def requests(frames: int, prompts: tuple[str, ...] = PROMPTS) -> Iterator[Request]:
    """Ask about videos, each with the next prompt; every third one is fast or cut."""
    for number in range(-(-frames // FRAMES_OF_VIDEO)):
        prompt = build_prompt(prompts[number % len(prompts)])
        for index, frame in enumerate(_frames(number)):
            if number * FRAMES_OF_VIDEO + index < frames:
                yield Request(replace(frame, camera=f"/camera_{number}"), prompt, BUDGET, MAX_NEW_TOKENS)


def _frames(number: int) -> Iterator[Frame]:
    if number % 3 == 2:
        return video("fast" if number % 2 else "cuts", 3, FRAMES_OF_VIDEO, 500 + number)
    return come_and_go(FRAMES_OF_VIDEO, 500 + number)


def judge(answer: Answer, request: Request, plain: PlainModel, expected: PlainAnswer) -> str:
    """Tell "same", "tie" or what is different from `generate`."""
    place = first_difference(answer.text, answer.tokens, expected)
    if place is None:
        return "same"
    gaps = plain.answer(request, logits=True).gaps
    gap = gaps[place] if place < len(gaps) else float("inf")
    stamp = f"{request.frame.camera} at {request.frame.received_s:.1f} s"
    what = f"token {place} of {request.prompt.text!r} on {stamp}: the plain model's two highest logits are {gap} apart"
    return f"tie: {what}" if gap < TIE else f"difference: {what}; {expected.text!r} became {answer.text!r}"


class Engines:
    """One model, asked in three ways."""

    def __init__(self, model: str, dtype: str) -> None:
        self._drafted, self._plain, self._batch = (
            open_engine(model, dtype=dtype, drafting=drafting) for drafting in (True, False, True)
        )
        self._before: Request | None = None

    def answer(self, request: Request) -> tuple[Answer, bool]:
        """Answer with drafts; and tell whether the other ways give the same to the last bit."""
        answer = self._drafted.answer(request, never_stop)
        company = [request] if self._before is None else [self._before, request]
        self._before = request
        others = [
            self._plain.answer(request, never_stop),
            cast(BatchEngine, self._batch).answer_batch(company, [never_stop] * len(company))[-1],
        ]
        return answer, all((other.text, other.tokens) == (answer.text, answer.tokens) for other in others)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--model", default=resolve_model("tiny"))
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    torch.set_num_threads(1)
    silence_libraries()
    plain, engines = PlainModel(args.model, args.dtype), Engines(args.model, args.dtype)
    counts: dict[str, Count] = {}
    causes: list[str] = []
    for request in requests(args.frames):
        answer, exact = engines.answer(request)
        verdict = judge(answer, request, plain, plain.answer(request))
        count = counts.setdefault(request.prompt.text, Count())
        count.frames, count.tokens = count.frames + 1, count.tokens + len(answer.tokens)
        count.passes += answer.passes
        count.inexact += not exact
        count.ties += verdict.startswith("tie")
        count.differences += verdict.startswith("difference")
        if verdict != "same":
            print(verdict)
            causes.append(verdict)
    total = Count(*(sum(getattr(c, name) for c in counts.values()) for name in Count.__slots__))
    print_table([{"prompt": prompt, **asdict(count)} for prompt, count in {**counts, "all": total}.items()])
    report = {"total": asdict(total), "prompts": {p: asdict(c) for p, c in counts.items()}, "causes": causes}
    write_json(f"lossless_{args.dtype}" if args.dtype != "float32" else "lossless", report)
    if total.inexact:
        raise SystemExit(f"{total.inexact} of {total.frames} answers differ from those without drafts, or in a batch")
    if total.differences and args.dtype == "float32":
        raise SystemExit(f"{total.differences} of {total.frames} answers differ from those of generate")


if __name__ == "__main__":
    main()
