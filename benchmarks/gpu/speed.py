"""How long passes, images and whole answers take, in the shapes of real models."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from transformers import DynamicCache, LogitsProcessorList

from benchmarks.gpu.forced import Forced, ForcedGenerator, ForcedTokens, forced_video
from benchmarks.gpu.limits import Limits
from benchmarks.gpu.sections import Deadline, Report
from benchmarks.gpu.subject import BUDGET, Subject, Subjects, median_ms, noise_frame, timed
from benchmarks.shapes import Shape
from vlm_perception.engines.drafting.drafter import DraftMemory
from vlm_perception.engines.transformers.cuda_graphs import RecordOnCuda
from vlm_perception.engines.transformers.decoder_pass import Choice, Decoder, PassToken
from vlm_perception.engines.transformers.prefill import Prefill, Prefix
from vlm_perception.engines.transformers.vision_tower import image_features
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Request

OURS, EAGER, GRAPH, GENERATE = "ours", "ours, eager", "ours, graph", "generate"
# `generate` with a static cache compiles what it runs unless it is told not to, which takes a minute or more.
GENERATE_METHODS: dict[str, dict[str, Any]] = {
    GENERATE: {},
    "generate, static cache, not compiled": {"cache_implementation": "static", "disable_compile": True},
    "generate, prompt lookup": {"prompt_lookup_num_tokens": 10},
}
SLOW = "slow"
_NO_CARD = "needs CUDA"


class Speed:
    """Sections about one shape.

    Args:
        shape: Its sizes.
        subjects: Makes its model.
        limits: Of the device.
    """

    def __init__(self, shape: Shape, subjects: Subjects, limits: Limits) -> None:
        self._shape, self._subjects, self._limits = shape, subjects, limits
        self._device, self._effort = subjects.device, subjects.effort

    @property
    def _subject(self) -> Subject:
        return self._subjects.of(self._shape)

    @torch.inference_mode()
    def passes(self, report: Report, deadline: Deadline) -> None:
        """Time decoder passes behind caches of several lengths."""
        subject = self._subject
        for length in self._effort.cache_lengths:
            prefix = _random_prefix(subject.model, length)
            found: dict[str, list[Choice]] = {}
            for method, graph in ((EAGER, False), (GRAPH, True)):
                what = f"pass behind {length}"
                if graph and not self._subjects.has_graphs:
                    report.skip(subject.name, what, method, _NO_CARD)
                    continue
                decoder = Decoder(subject.model, RecordOnCuda(subject.model.device) if graph else None)
                decoder.load(0, prefix)
                tokens = _tokens_behind(decoder, length)
                found[method] = decoder.read(tokens)
                ms = median_ms(self._device, partial(decoder.read, tokens), self._effort.runs)
                limit_ms = self._limits.read_ms(subject.pass_bytes(decoder.shape.bucket_of(length)))
                same = found[method] == found[EAGER]
                note = f"{decoder.shape.rows} rows, bucket {decoder.shape.bucket_of(length)}"
                report.add(subject.name, what, method, ms=ms, limit_ms=limit_ms, identical=same, note=note)
                del decoder
        self._plain_pass(report, subject, prefix)

    def _plain_pass(self, report: Report, subject: Subject, prefix: Prefix) -> None:
        """Time transformers' own pass over one token, with a cache that grows."""
        model, cache = subject.plain.model, DynamicCache()
        for layer, (keys, values) in enumerate(prefix.states):
            cache.update(keys, values, layer)
        ids = torch.tensor([[20]], device=model.device)
        places = torch.full((3, 1, 1), prefix.length, device=model.device)

        def run() -> None:
            seen = model.model.language_model(
                input_ids=ids, position_ids=places, past_key_values=cache, use_cache=True
            ).last_hidden_state
            model.lm_head(seen).argmax(-1).tolist()
            cache.crop(-1)

        ms = median_ms(self._device, run, self._effort.runs)
        limit_ms = self._limits.read_ms(subject.pass_bytes(prefix.length))
        what = f"pass behind {prefix.length}"
        report.add(subject.name, what, "transformers, eager", ms=ms, limit_ms=limit_ms, note="1 row")

    @torch.inference_mode()
    def images(self, report: Report, deadline: Deadline) -> None:
        """Time what happens to an image before the first word, for images of several sizes."""
        subject, prompt = self._subject, build_prompt("all objects")
        tokens = subject.preprocessor.tokens(prompt.instruction)
        prefill = Prefill(subject.model)
        for number, image_wh in enumerate(self._effort.images_wh):
            if deadline.over:
                break
            request = Request(noise_frame(image_wh, number), prompt, BUDGET)
            model_wh = subject.preprocessor.plan_wh(request)
            patches = subject.preprocessor.patches(request)
            pixels, grid = patches.pixels, patches.grid_thw
            grid_rows = torch.tensor([grid], device=subject.model.device)
            own = subject.plain.model.model.visual
            count = len(pixels) // 4
            size = f"{model_wh[0]}x{model_wh[1]}, {count} tokens"
            look, read = image_features, prefill.read
            actions: dict[tuple[str, str], Callable[[], object]] = {
                ("cut", OURS): partial(subject.preprocessor.patches, request),
                ("tower", "transformers"): partial(own, pixels.to(own.dtype), grid_thw=grid_rows),
                ("tower", OURS): partial(look, subject.model, pixels, grid),
                ("prefill", OURS): partial(read, request.frame, model_wh, tokens, patches),
            }
            limits = {
                "tower": self._limits.compute_ms(_flop(subject.model.model.visual, len(pixels))),
                "prefill": self._limits.compute_ms(
                    _flop(subject.model.model.visual, len(pixels))
                    + _flop(subject.model.model.language_model.layers, count + len(tokens.before))
                ),
            }
            for (part, method), action in actions.items():
                ms = median_ms(self._device, action, self._effort.runs, warm_up=1)
                with _AttentionCalls() as calls:
                    action()
                note = f"{calls.count} attention calls"
                report.add(subject.name, f"{part} of {size}", method, ms=ms, limit_ms=limits.get(part), note=note)

    def answers(self, report: Report, deadline: Deadline) -> None:
        """Time whole answers, from pixels to text, whose text is forced; `generate` on slow videos alone."""
        subject = self._subject
        for n_objects in reversed(self._effort.objects):
            frames = 2 + min(4, self._effort.runs)
            videos = {
                kind: forced_video(kind, n_objects, frames, subject.loaded.vocabulary, subject.preprocessor)
                for kind in self._effort.kinds
            }
            for kind, video in videos.items():
                for method, graph in ((GRAPH, True), (EAGER, False)):
                    self._our_answers(report, f"answer, {n_objects} objects, {kind}", method, graph, video, deadline)
            for method, options in GENERATE_METHODS.items():
                what = f"answer, {n_objects} objects, {SLOW}"
                if deadline.over:
                    report.skip(subject.name, what, method, "no time left")
                    continue
                # What it is shown does not change how long it takes.
                _plain_answers(report, subject, what, method, videos[SLOW][:2], self._limits, **options)

    def _our_answers(
        self, report: Report, what: str, method: str, graph: bool, video: list[Forced], deadline: Deadline
    ) -> None:
        subject = self._subject
        if graph and not self._subjects.has_graphs:
            report.skip(subject.name, what, method, _NO_CARD)
            return
        if deadline.over:
            report.skip(subject.name, what, method, "no time left")
            return
        generator = ForcedGenerator(subject.generator(graph, DraftMemory(subject.loaded.vocabulary)))
        times, passes = [], []
        for forced in video:
            ms, answer = timed(self._device, partial(generator.answer, forced))
            times.append(ms)
            passes.append(answer.passes)
        # The first two fill the memory of the drafts, and the graphs are recorded.
        ms = statistics.median(times[2:])
        count = statistics.mean(passes[2:])
        limit_ms = self._limits.read_ms(count * subject.pass_bytes(0))
        note = f"{count:.1f} passes for {len(video[-1].ids)} tokens"
        report.add(subject.name, what, method, ms=ms, limit_ms=limit_ms, identical=True, note=note)

    def compiled(self, report: Report, deadline: Deadline) -> None:
        """Time `generate` as fast as transformers makes it: a static cache, compiled and warmed up."""
        n_objects = self._effort.objects[-1]
        what, method = f"answer, {n_objects} objects, {SLOW}", "generate, static cache, compiled"
        if not self._subjects.has_graphs:
            report.skip(self._shape.name, what, method, _NO_CARD)
            return
        subject = self._subject
        vocabulary, preprocessor = subject.loaded.vocabulary, subject.preprocessor
        video = forced_video(SLOW, n_objects, 3, vocabulary, preprocessor)
        _plain_answers(report, subject, what, method, video, self._limits, cache_implementation="static")


def _plain_answers(
    report: Report, subject: Subject, what: str, method: str, video: list[Forced], limits: Limits, **options: Any
) -> None:
    """Time `generate`; the last answer counts, those before warm it up."""
    ms, same, passes = 0.0, False, 0
    for forced in video:
        # Whoever compiles pays once for a length, so that of the last one is everybody's.
        ids = video[-1].ids
        length = int(subject.plain.prepare(forced.request)["input_ids"].shape[1])
        options["logits_processor"] = LogitsProcessorList([ForcedTokens(ids, length)])
        request = Request(forced.request.frame, forced.request.prompt, BUDGET, len(ids))
        ms, answer = timed(subject.device, partial(subject.plain.answer, request, **options))
        same, passes = answer.ids == ids, answer.passes
    limit_ms, note = limits.read_ms(passes * subject.pass_bytes(0)), f"{passes} passes for {len(ids)} tokens"
    report.add(subject.name, what, method, ms=ms, limit_ms=limit_ms, identical=same, note=note)


class _AttentionCalls(TorchFunctionMode):
    """Counts calls of torch's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


def _random_prefix(model: Any, length: int) -> Prefix:
    """Make keys and values; random ones cost what real ones cost."""
    config = model.config.get_text_config()
    head = config.hidden_size // config.num_attention_heads
    numbers = torch.Generator(model.device).manual_seed(1)

    def states() -> torch.Tensor:
        shape = (1, config.num_key_value_heads, length, head)
        return torch.randn(shape, generator=numbers, device=model.device, dtype=model.dtype)

    return Prefix(tuple((states(), states()) for _ in range(config.num_hidden_layers)), length, length)


def _tokens_behind(decoder: Decoder, length: int) -> list[PassToken]:
    """Make the tokens of a pass of one reply; none is behind the first one's bucket."""
    rows = decoder.shape.rows
    return [PassToken(20 + row, length + row, length + row, 0) for row in range(rows)]


def _flop(module: Any, tokens: int) -> float:
    """Count what its products take, but for the attention's own."""
    return 2.0 * tokens * float(sum(weight.numel() for weight in module.parameters()))
