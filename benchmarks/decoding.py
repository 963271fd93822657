"""What drafting saves, side by side in one run: `python -m benchmarks.decoding`.

Every frame is answered by every method, one after the other, so that a busy machine slows all of
them alike. `generate` is transformers' own plain loop, `prompt_lookup` its drafting from the prompt;
`last`, `grammar` and `all` are the engine with drafts from the last answer, from the reply's grammar
and from both and motion; `tracked` is `all` where objects are followed between answers too, through
what a camera of 30 Hz films. The first two frames of a video fill the memories and are not counted, but
in videos of cuts, where they say nothing. Wall time is that of the whole answer, from pixels to text.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.plain import PlainAnswer, PlainModel, first_difference
from benchmarks.report import print_table, silence_libraries, write_json
from benchmarks.videos import SPEEDS, between, video
from vlm_perception.engines.base import ignore_text, never_stop
from vlm_perception.engines.drafting.continuation import ReplyContinuation
from vlm_perception.engines.drafting.drafter import Drafter, DraftMemory, ReplyDrafter, Vocabulary
from vlm_perception.engines.drafting.motion import ExpectedReply
from vlm_perception.engines.drafting.template import ReplyTemplate, read_template
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.generator import Generator
from vlm_perception.engines.transformers.loading import load_checkpoint
from vlm_perception.pipeline import perceive
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import WH, Answer, Frame, PixelBudget, Request
from vlm_perception.world.tracker import Tracker

OBJECTS = (1, 4, 12)
WARM_UP = 2
PROMPT = "all objects"
BUDGET = PixelBudget(224 * 224, 1024 * 1024)
MAX_NEW_TOKENS = 512


class FromGrammar(DraftMemory):
    """Drafts from the form of replies alone."""

    def remember(self, request: Request, model_wh: WH, text: str) -> None:
        """Keep nothing."""


class WithoutGrammar(ReplyContinuation):
    """Goes on by the expected reply alone."""

    def _forms(self) -> Sequence[ReplyTemplate]:
        return ()

    def _known_words(self) -> list[str]:
        return []


class FromLast(DraftMemory):
    """Drafts from the last answer, as it was."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        self._last: dict[str, ExpectedReply] = {}

    def drafter(self, request: Request, model_wh: WH) -> Drafter:
        """See `DraftMemory.drafter`."""
        camera = request.frame.camera
        continuation = WithoutGrammar(self._last.get(camera), model_wh, request.prompt.targets)
        return ReplyDrafter(continuation, self._vocabulary)

    def remember(self, request: Request, model_wh: WH, text: str) -> None:
        """See `DraftMemory.remember`."""
        self._last[request.frame.camera] = ExpectedReply(read_template(text))


class Tracked:
    """A generator that is told how objects moved, as the node tells it while it follows them."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._trackers: dict[str, Tracker] = {}

    def see(self, frame: Frame) -> None:
        """Take what is filmed between two questions."""
        self._tracker(frame).advance(frame)

    def answer(self, request: Request) -> Answer:
        """Answer, and follow what was found."""
        tracker = self._tracker(request.frame)
        tracker.set_prompts([request.prompt])
        tracker.advance(request.frame)
        moves = tracker.moves(request.frame, request.prompt)
        result = perceive(self._generator, replace(request, moves=moves))
        catch_up = tracker.start_catch_up(tracker.identify(result))
        if catch_up is not None:
            tracker.finish_catch_up(catch_up)
        return result.answer

    def _tracker(self, frame: Frame) -> Tracker:
        return self._trackers.setdefault(frame.camera, Tracker(itertools.count(1), lost_after_s=2.0))


MEMORIES: dict[str, type[DraftMemory]] = {"last": FromLast, "grammar": FromGrammar, "all": DraftMemory}


@dataclass(frozen=True, slots=True)
class Shot:
    """One answer of one method."""

    passes: int
    tokens: int
    wall_s: float
    identical: bool


def generate(
    plain: PlainModel, request: Request, expected: PlainAnswer | None = None, **options: Any
) -> tuple[Shot, PlainAnswer]:
    """Ask transformers' own `generate`."""
    began_s = time.perf_counter()
    answer = plain.answer(request, **options)
    wall_s = time.perf_counter() - began_s
    return Shot(answer.passes, len(answer.ids), wall_s, expected is None or answer.ids == expected.ids), answer


Method = Callable[[Request, PlainAnswer], Shot]


def _answer(generator: Generator, request: Request) -> Answer:
    return generator.answer(request, never_stop, ignore_text)


def methods_of(plain: PlainModel, model: str) -> tuple[dict[str, Method], Tracked]:
    """Make all methods but the plain one, whose answer each of them is given to compare with."""

    def by(answer_of: Callable[[Request], Answer]) -> Method:
        def ask(request: Request, expected: PlainAnswer) -> Shot:
            began_s = time.perf_counter()
            answer = answer_of(request)
            wall_s = time.perf_counter() - began_s
            same = first_difference(answer.text, answer.tokens, expected) is None
            return Shot(answer.passes, len(answer.tokens), wall_s, same)

        return ask

    def by_lookup(request: Request, expected: PlainAnswer) -> Shot:
        return generate(plain, request, expected, prompt_lookup_num_tokens=10)[0]

    methods: dict[str, Method] = {"prompt_lookup": by_lookup}
    for name, memory in MEMORIES.items():
        loaded = load_checkpoint(find_checkpoint(model), "auto", "auto")
        methods[name] = by(partial(_answer, Generator(loaded, memory(loaded.vocabulary))))
    loaded = load_checkpoint(find_checkpoint(model), "auto", "auto")
    tracked = Tracked(Generator(loaded, DraftMemory(loaded.vocabulary)))
    methods["tracked"] = by(tracked.answer)
    return methods, tracked


def ask(frame: Frame) -> Request:
    """Ask for all objects in a frame."""
    return Request(frame, build_prompt(PROMPT), BUDGET, MAX_NEW_TOKENS)


def measure(
    kind: str,
    n_objects: int,
    args: argparse.Namespace,
    plain: PlainModel,
    methods: Mapping[str, Method],
    tracked: Tracked,
) -> list[dict[str, Any]]:
    """Answer videos of one kind with all methods; one row a method."""
    shots: dict[str, list[Shot]] = {}
    for run in range(args.runs):
        warm_up = 0 if kind == "cuts" else WARM_UP
        for index, frame in enumerate(video(kind, n_objects, args.frames + warm_up, seed=100 + run)):
            camera = f"/{kind}/{n_objects}/{run}"
            request = ask(replace(frame, camera=camera))
            plainly, expected = generate(plain, request)
            others = {name: method(request, expected) for name, method in methods.items()}
            for name, shot in {"generate": plainly, **others}.items():
                if index >= warm_up:
                    shots.setdefault(name, []).append(shot)
            for filmed in between(kind, n_objects, index, seed=100 + run):
                tracked.see(replace(filmed, camera=camera))
    return [_row(kind, n_objects, name, found, shots["generate"]) for name, found in shots.items()]


def _row(kind: str, n_objects: int, name: str, shots: list[Shot], plain: list[Shot]) -> dict[str, Any]:
    passes = sum(shot.passes for shot in shots)
    wall = statistics.median(mine.wall_s / its.wall_s for mine, its in zip(shots, plain, strict=True))
    return {
        "video": kind,
        "objects": n_objects,
        "method": name,
        "passes_per_answer": round(passes / len(shots), 2),
        "tokens_per_pass": round(sum(shot.tokens for shot in shots) / passes, 2),
        "wall_ratio_to_plain": round(wall, 3),
        "identical": all(shot.identical for shot in shots),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="videos of each kind, all with other scenes")
    parser.add_argument("--frames", type=int, default=10, help="counted frames of a video")
    parser.add_argument("--videos", nargs="+", choices=list(SPEEDS), default=list(SPEEDS))
    parser.add_argument("--objects", nargs="+", type=int, default=list(OBJECTS))
    parser.add_argument("--model", default=resolve_model("tiny"))
    parser.add_argument("--output", type=Path, help="JSON file (default: build/benchmarks/decoding.json)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    silence_libraries()
    plain = PlainModel(args.model)
    methods, tracked = methods_of(plain, args.model)
    rows: list[dict[str, Any]] = []
    for kind in args.videos:
        for n_objects in args.objects:
            rows += measure(kind, n_objects, args, plain, methods, tracked)
    print_table(rows)
    write_json("decoding", rows, args.output)


if __name__ == "__main__":
    main()
