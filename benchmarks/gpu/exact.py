"""Whether answers are the same: to the last bit among our own ways to them, and as far as they can be to others."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from benchmarks.gpu.sections import Deadline, Report
from benchmarks.gpu.speed import EAGER, GENERATE, GRAPH
from benchmarks.gpu.subject import BUDGET, Subjects, timed
from benchmarks.lossless import requests
from benchmarks.plain import PlainAnswer, PlainModel, first_difference
from benchmarks.shapes import Shape
from benchmarks.videos import video
from training.evaluate import figures, make_cases
from training.judge import judge
from vlm_perception.engines.base import ignore_text, never_stop
from vlm_perception.engines.drafting.drafter import Drafter, DraftMemory, NoDraft, Vocabulary
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import WH, Answer, Frame, FrameHeader, Prompt, Request, Task

TINY = "tiny"
Ask = Callable[[Request], Answer]


@contextmanager
def opened(folder: Path | str, device: str, **options: Any) -> Iterator[TransformersEngine]:
    """Open an engine for a while."""
    engine = cast(TransformersEngine, open_engine(folder, device=device, **options))
    try:
        yield engine
    finally:
        engine.close()


class Exact:
    """Sections that compare answers.

    Args:
        subjects: Where models run, and how much is done.
        shape: Of the large model.
    """

    def __init__(self, subjects: Subjects, shape: Shape) -> None:
        self._subjects, self._shape = subjects, shape
        self._device, self._effort = subjects.device, subjects.effort

    def ours(self, report: Report, deadline: Deadline) -> None:
        """Answer moving scenes with the tiny model in all ways; each way against plain eager passes."""
        for number, dtype in enumerate(self._effort.dtypes):
            part = Deadline(deadline.left_s / (len(self._effort.dtypes) - number))
            asked: list[Request] = []
            found: dict[str, list[Answer]] = {}
            times: dict[str, list[float]] = {}
            expected: list[PlainAnswer] = []
            with ExitStack() as stack:
                ways = {name: stack.enter_context(way) for name, way in self._ways(dtype).items()}
                plain = PlainModel(resolve_model(TINY), dtype, self._device)
                for request in mixed_requests(self._effort.frames):
                    if asked and part.over:
                        break
                    asked.append(request)
                    for name, ask in ways.items():
                        ms, answer = timed(self._device, partial(ask, request))
                        found.setdefault(name, []).append(answer)
                        times.setdefault(name, []).append(ms)
                    ms, theirs = timed(self._device, partial(plain.answer, request, logits=True))
                    expected.append(theirs)
                    times.setdefault(GENERATE, []).append(ms)
            model, what = f"{TINY}, {dtype}", f"{len(asked)} answers"
            baseline = found[EAGER]
            for name, answers in found.items():
                same = sum(map(bitwise, answers, baseline))
                report.add(model, what, name, ms=statistics.median(times[name]), identical=f"{same} of {len(asked)}")
            self._skip_graphs(report, model, what)
            ms = statistics.median(times[GENERATE])
            report.add(model, what, GENERATE, ms=ms, **against_generate(baseline, expected))

    @contextmanager
    def _asking(self, batch: int = 0, before: str = "", **options: Any) -> Iterator[Ask]:
        """Open an engine that is asked in one way.

        Args:
            batch: Requests that are answered together, of which the last one counts; 0 for none but that.
            before: What is asked about each frame first, so that it has been looked at already.
            options: Of `open_engine`.
        """
        kept: list[Request] = []
        with opened(TINY, self._device, **options) as engine:

            def ask(request: Request) -> Answer:
                if before:
                    engine.answer(Request(request.frame, build_prompt(before), request.budget, 4), never_stop)
                if not batch:
                    return engine.answer(request, never_stop)
                kept.append(request)
                del kept[:-batch]
                return engine.answer_batch(kept, [never_stop] * len(kept))[-1]

            yield ask

    def _ways(self, dtype: str) -> dict[str, Any]:
        ways: dict[str, Any] = {EAGER: self._asking(dtype=dtype, decoder="eager", drafting=False)}
        for name, decoder in ((EAGER, "eager"), (GRAPH, "graph")):
            if decoder == "graph" and not self._subjects.has_graphs:
                continue
            asking = partial(self._asking, dtype=dtype, decoder=decoder)
            if decoder == "graph":
                ways[name] = asking(drafting=False)
            ways[f"{name}, drafted"] = asking()
            ways[f"{name}, drafted, in a batch of 4"] = asking(batch=4)
            ways[f"{name}, drafted, on a kept image"] = asking(before="red circle")
        return ways

    def _skip_graphs(self, report: Report, model: str, what: str) -> None:
        if not self._subjects.has_graphs:
            report.skip(model, what, GRAPH, "needs CUDA")

    def large(self, report: Report, deadline: Deadline) -> None:
        """Let the large model write what it chooses itself; drafts are its own answer, wrong at every 7th token."""
        subject = self._subjects.of(self._shape)
        frame = next(video("slow", 4, 1, seed=3))
        request = Request(frame, build_prompt("all objects"), BUDGET, self._effort.new_tokens)
        told = ToldDrafts(subject.loaded.vocabulary)
        baseline = subject.generator(False, told).answer(request, never_stop, ignore_text)
        ids = tuple(told.written)
        what = f"its own {len(ids)} tokens"
        report.add(subject.name, what, EAGER, note=f"{baseline.passes} passes")
        for name, graph, wrong_every in ((EAGER, False, 7), (GRAPH, True, 0), (GRAPH, True, 7)):
            method = f"{name}, {'drafted' if wrong_every else 'undrafted'}"
            if graph and not self._subjects.has_graphs:
                report.skip(subject.name, what, method, "needs CUDA")
                continue
            drafts = ToldDrafts(subject.loaded.vocabulary, ids, wrong_every) if wrong_every else None
            generator = subject.generator(graph, drafts)
            generator.answer(request, never_stop, ignore_text)
            again = replace(request, frame=replace(frame, received_s=1.0))
            ms, answer = timed(self._device, partial(generator.answer, again, never_stop, ignore_text))
            same, note = bitwise(answer, baseline), f"{answer.passes} passes"
            report.add(subject.name, what, method, ms=ms, identical=same, note=note)
        ms, theirs = timed(self._device, partial(subject.plain.answer, request, logits=True))
        report.add(subject.name, what, GENERATE, ms=ms, **against_ids(ids, theirs))

    def devices(self, report: Report, deadline: Deadline) -> None:
        """Answer held-out questions on the device and on the host, in float32; judge both by the truth."""
        cases = make_cases(self._effort.scenes)
        replies: dict[str, list[str]] = {self._device: [], "host": []}
        ways = {self._device: self._device, "host": "cpu"}
        with ExitStack() as stack:
            engines = {
                name: stack.enter_context(opened(TINY, device, dtype="float32")) for name, device in ways.items()
            }
            for number, case in enumerate(cases):
                if deadline.over:
                    break
                instruction = case.question.instruction
                frame = Frame(case.scene.rgb, FrameHeader(number, 0, "camera"), "/scene", float(number))
                request = Request(frame, Prompt(instruction, Task.DETECT, instruction), max_new_tokens=300)
                for name, engine in engines.items():
                    replies[name].append(engine.answer(request, never_stop).text)
        same = sum(a == b for a, b in zip(*replies.values(), strict=True))
        for name, texts in replies.items():
            judged = [judge(c.question, text, c.scene, c.view) for c, text in zip(cases, texts, strict=False)]
            good = figures(judged)
            note = f"recall {good.get('recall50')}, mean IoU {good.get('mean_iou')}"
            report.add(TINY, "held-out questions", name, identical=f"{same} of {len(texts)}", note=note)

    def side_by_side(self, report: Report, deadline: Deadline) -> None:
        """Ask two models of one process in turn, and from two threads; each against itself alone."""
        asked = mixed_requests(self._effort.frames)[:20]
        with ExitStack() as stack:
            engines = [stack.enter_context(opened(TINY, self._device, dtype=d)) for d in ("bfloat16", "float32")]
            alone = [_all_answers(engine, asked) for engine in engines]
            for engine in engines:
                engine.forget()
            pairs = [[engine.answer(request, never_stop) for engine in engines] for request in asked]
            in_turn = [[pair[place] for pair in pairs] for place in range(2)]
            for engine in engines:
                engine.forget()
            with ThreadPoolExecutor(2) as pool:
                at_once = list(pool.map(partial(_all_answers, requests=asked), engines))
        for method, found in (("in turn", in_turn), ("from two threads", at_once)):
            same = sum(sum(map(bitwise, *pair)) for pair in zip(found, alone, strict=True))
            report.add(f"two of {TINY}", "side by side", method, identical=f"{same} of {2 * len(asked)}")


def mixed_requests(frames: int) -> list[Request]:
    """Ask about the frames of several videos in turn."""
    return sorted(requests(frames), key=lambda request: request.frame.received_s)


def _all_answers(engine: TransformersEngine, requests: Sequence[Request]) -> list[Answer]:
    return [engine.answer(request, never_stop) for request in requests]


def bitwise(answer: Answer, other: Answer) -> bool:
    """Tell whether two answers agree in every token and in the last bit of every log-probability."""
    return (answer.text, answer.tokens, answer.finish_reason) == (other.text, other.tokens, other.finish_reason)


def against_generate(answers: Sequence[Answer], expected: Sequence[PlainAnswer]) -> dict[str, Any]:
    """Count answers that are those of `generate`, and tell how sure it was where they are not."""
    places = [first_difference(mine.text, mine.tokens, its) for mine, its in zip(answers, expected, strict=True)]
    gaps = [its.gaps[place] for its, place in zip(expected, places, strict=True) if place is not None]
    note = f"largest gap at a first difference: {max(gaps):.4f}" if gaps else ""
    return {"identical": f"{places.count(None)} of {len(places)}", "note": note}


def against_ids(ids: Sequence[int], expected: PlainAnswer) -> dict[str, Any]:
    """Tell the same of one answer by its ids."""
    pairs = zip(ids, expected.ids, strict=False)
    place = next((place for place, (mine, its) in enumerate(pairs) if mine != its), None)
    if place is None:
        return {"identical": len(ids) == len(expected.ids)}
    return {"identical": False, "note": f"token {place} differs, gap {expected.gaps[place]:.4f}"}


class ToldDrafts(DraftMemory):
    """Drafts an answer that is known, with errors, and writes down what was chosen.

    Args:
        vocabulary: The model's.
        ids: The answer.
        wrong_every: Every so manieth token is drafted wrongly.
    """

    def __init__(self, vocabulary: Vocabulary, ids: Sequence[int] = (), wrong_every: int = 0) -> None:
        super().__init__(vocabulary)
        self._ids = [token ^ (place % wrong_every == 0) for place, token in enumerate(ids)] if wrong_every else []
        self.written: list[int] = []

    def drafter(self, request: Request, model_wh: WH) -> Drafter:
        """See `DraftMemory.drafter`."""
        self.written = []
        return _Told(self._ids, self.written)

    def remember(self, request: Request, model_wh: WH, text: str) -> None:
        """Keep nothing."""


class _Told(NoDraft):
    def __init__(self, ids: Sequence[int], written: list[int]) -> None:
        self._ids, self._written = ids, written

    def propose(self, limit: int) -> Sequence[int]:
        """See `Drafter.propose`."""
        return self._ids[len(self._written) :]

    def accept(self, written: Sequence[int]) -> None:
        """See `Drafter.accept`."""
        self._written += written
