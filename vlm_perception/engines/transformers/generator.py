"""From a request to an answer with a loaded model: prepared, read, written, remembered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from vlm_perception.engines.base import OnText, ShouldStop
from vlm_perception.engines.drafting.drafter import Drafter, DraftMemory, NoDraft
from vlm_perception.engines.transformers.batch import decode_batch
from vlm_perception.engines.transformers.loading import LoadedModel
from vlm_perception.engines.transformers.prefill import Prefill, PrefilledPrompt
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.engines.transformers.reply_stream import PrefillStopped, ReplyStream, stoppable_prefill
from vlm_perception.engines.transformers.speculative import decode_speculatively, usable_draft
from vlm_perception.types import Answer, Request, Timings


@dataclass(frozen=True, slots=True)
class _Begun:
    """An answer at the point where its tokens can be written.

    Attributes:
        request: What is asked.
        blank: The answer before its first word, with the timings until here.
        reply: Reads what is written.
        prefilled: The prompt as the model has read it; None when it was stopped before.
    """

    request: Request
    blank: Answer
    reply: ReplyStream
    prefilled: PrefilledPrompt | None


class Generator:
    """Answers requests with one loaded model.

    Args:
        loaded: The checkpoint.
        drafts: Proposes how answers go on, which in float32 changes none; None for plain decoding.
    """

    def __init__(self, loaded: LoadedModel, drafts: DraftMemory | None) -> None:
        self._loaded, self._drafts = loaded, drafts
        self._preprocessor = Preprocessor(loaded.processor, int(loaded.model.config.image_token_id))
        self._prefill = Prefill(loaded.model)

    def forget(self) -> None:
        """Drop everything that earlier requests left behind; the next answer is as the first one."""
        self.release()
        if self._drafts is not None:
            self._drafts.forget()

    def release(self) -> None:
        """Let go of what earlier frames keep in the device's memory; what answers told stays known."""
        self._prefill = Prefill(self._loaded.model)

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        checkpoint, unknown = self._loaded.checkpoint, Timings(0.0, 0.0, 0.0)
        model_wh = self._preprocessor.plan_wh(request)
        return Answer("", model_wh, checkpoint.coordinates, "unfinished", (), unknown, checkpoint.calibration)

    @torch.inference_mode()
    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText) -> Answer:
        """See `Engine.answer`."""
        model_wh = self._preprocessor.plan_wh(request)
        drafter = self._drafts.drafter(request, model_wh) if self._drafts else NoDraft()
        begun = self._begin(request, should_stop, on_text, drafter)
        began_s, passes = time.perf_counter(), 0
        if begun.prefilled is not None:
            passes = decode_speculatively(
                self._loaded.model, begun.prefilled, begun.reply, drafter, max_new_tokens=request.max_new_tokens
            )
        return self._finish(begun, passes, time.perf_counter() - began_s)

    @torch.inference_mode()
    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText]
    ) -> list[Answer]:
        """See `BatchEngine.answer_batch`."""
        batch = [self._begin(*row, NoDraft()) for row in zip(requests, should_stop, on_text, strict=True)]
        began_s = time.perf_counter()
        rows = [(each.prefilled, each.reply, each.request.max_new_tokens) for each in batch if each.prefilled]
        passes = iter(decode_batch(self._loaded.model, rows))
        decoding_s = time.perf_counter() - began_s
        return [self._finish(each, next(passes) if each.prefilled else 0, decoding_s) for each in batch]

    def _begin(self, request: Request, should_stop: ShouldStop, on_text: OnText, drafter: Drafter) -> _Begun:
        """Prepare a request and have the model read it, with how its answer may begin."""
        model, began_s = self._loaded.model, time.perf_counter()
        blank = self.blank_answer(request)
        reply = ReplyStream(self._loaded.vocabulary, self._loaded.end_ids, should_stop, on_text)
        tokens = self._preprocessor.tokens(request.prompt.instruction)
        image = self._prefill.find(request.frame, blank.model_wh, tokens) or self._preprocessor.patches(request)
        draft = usable_draft(model, drafter, request.max_new_tokens)
        prepared_s = time.perf_counter()
        prefilled = None
        with suppress(PrefillStopped), stoppable_prefill(model, reply):
            prefilled = self._prefill.read(request.frame, blank.model_wh, tokens, image, draft)
        prefill_s = time.perf_counter() - prepared_s
        timings = Timings(prepared_s - began_s, prefill_s, 0.0, prefill_s=prefill_s)
        return _Begun(request, replace(blank, timings=timings), reply, prefilled)

    def _finish(self, begun: _Begun, passes: int, decoding_s: float) -> Answer:
        """Make the answer of what was written, and remember it."""
        began_s, blank = time.perf_counter(), begun.blank
        text, tokens, finish_reason = begun.reply.finish()
        if self._drafts is not None and finish_reason in ("stop", "length"):
            self._drafts.remember(begun.request, blank.model_wh, text)
        generate_s = blank.timings.generate_s + (decoding_s if begun.prefilled else 0.0)
        timings = replace(blank.timings, generate_s=generate_s, decode_s=time.perf_counter() - began_s)
        return replace(blank, text=text, tokens=tokens, finish_reason=finish_reason, passes=passes, timings=timings)
