"""From a request to an answer with a loaded model: known or not, read, written, remembered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from vlm_perception.engines.base import OnText, ShouldStop
from vlm_perception.engines.drafting.drafter import Drafter, DraftMemory, NoDraft
from vlm_perception.engines.transformers.answered import AnsweredQuestions, AskedKey
from vlm_perception.engines.transformers.batch import decode_batch
from vlm_perception.engines.transformers.inputs import FrameKey, QuestionWriter
from vlm_perception.engines.transformers.loading import LoadedModel
from vlm_perception.engines.transformers.prefill import Prefill, Prefilled
from vlm_perception.engines.transformers.reply_stream import PrefillStopped, ReplyStream, stoppable_prefill
from vlm_perception.engines.transformers.speculative import decode, usable_draft
from vlm_perception.types import Answer, Request, Timings


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question at the point where its answer can be written.

    Attributes:
        request: What is asked.
        key: What its answer depends on.
        blank: The answer before its first word.
        reply: Reads what is written.
        known: The answer that was given before, if it is known.
        prefilled: The question as the model has read it; None when it is not to be answered.
        timings: Of everything until here; decoding is not in them yet.
    """

    request: Request
    key: AskedKey
    blank: Answer
    reply: ReplyStream
    known: Answer | None
    prefilled: Prefilled | None
    timings: Timings


class Generator:
    """Answers requests with one loaded model.

    Args:
        loaded: The checkpoint.
        drafts: Proposes how answers go on, which never changes them; None for plain decoding.
    """

    def __init__(self, loaded: LoadedModel, drafts: DraftMemory | None) -> None:
        self._loaded, self._drafts = loaded, drafts
        self._writer = QuestionWriter(loaded.processor, int(loaded.model.config.image_token_id))
        self.forget()

    def forget(self) -> None:
        """Drop everything that earlier questions left behind; the next answer is as the first one."""
        self._prefill = Prefill(self._loaded.model)
        self._answered = AnsweredQuestions()
        if self._drafts is not None:
            self._drafts.forget()

    def release(self) -> None:
        """Let go of what earlier frames keep in the device's memory; finished answers stay known."""
        self._prefill = Prefill(self._loaded.model)

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        card, unknown = self._loaded.checkpoint, Timings(0.0, 0.0, 0.0)
        model_wh = self._writer.plan_wh(request)
        return Answer("", model_wh, card.coordinates, "unfinished", (), unknown, card.calibration)

    @torch.inference_mode()
    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText) -> Answer:
        """See `Engine.answer`."""
        drafter = self._drafts.drafter(request, self._writer.plan_wh(request)) if self._drafts else NoDraft()
        asked = self._ask(request, should_stop, on_text, drafter)
        began_s, passes = time.perf_counter(), 0
        if asked.prefilled is not None:
            limit = request.max_new_tokens
            passes = decode(self._loaded.model, asked.prefilled, asked.reply, drafter, max_new_tokens=limit).passes
        return self._finish(asked, passes, time.perf_counter() - began_s)

    @torch.inference_mode()
    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText]
    ) -> list[Answer]:
        """See `BatchEngine.answer_batch`."""
        batch = [self._ask(*row, NoDraft()) for row in zip(requests, should_stop, on_text, strict=True)]
        began_s = time.perf_counter()
        rows = {place: asked.prefilled for place, asked in enumerate(batch) if asked.prefilled is not None}
        replies = [batch[place].reply for place in rows]
        limits = [requests[place].max_new_tokens for place in rows]
        counted = decode_batch(self._loaded.model, list(rows.values()), replies, limits)
        passes = dict(zip(rows, counted, strict=True))
        decoding_s = time.perf_counter() - began_s
        return [self._finish(asked, passes.get(place, 0), decoding_s) for place, asked in enumerate(batch)]

    def _ask(self, request: Request, should_stop: ShouldStop, on_text: OnText, drafter: Drafter) -> _Asked:
        """Bring a question to where its answer can be written: known already, or read by the model."""
        began_s = time.perf_counter()
        blank = self.blank_answer(request)
        frame = FrameKey.of(request.frame, blank.model_wh)
        key = AskedKey(frame, request.prompt.instruction, request.max_new_tokens)
        reply = ReplyStream(self._loaded.vocabulary, self._loaded.end_ids, should_stop, on_text)
        known = self._answered.find(key)
        if known is not None:
            if reply.asked_to_stop():
                known = None
            else:
                on_text(known.text, known.tokens)
            return _Asked(request, key, blank, reply, known, None, Timings(time.perf_counter() - began_s, 0.0, 0.0))
        question = self._writer.write(request.prompt.instruction)
        is_known = self._prefill.knows(frame, question)
        patches = None if is_known else self._writer.patches(request)
        draft = usable_draft(self._loaded.model, drafter, request.max_new_tokens)
        prepared_s = time.perf_counter()
        prefilled = None
        with suppress(PrefillStopped), stoppable_prefill(self._loaded.model, reply):
            prefilled = self._prefill.read(frame, question, patches, draft)
        prefill_s = time.perf_counter() - prepared_s
        timings = Timings(prepared_s - began_s, prefill_s, 0.0, prefill_s=prefill_s)
        return _Asked(request, key, blank, reply, None, prefilled, timings)

    def _finish(self, asked: _Asked, passes: int, decoding_s: float) -> Answer:
        """Make the answer of what was written, and remember it."""
        began_s = time.perf_counter()
        if asked.known is not None:
            answer = replace(asked.known, passes=0, timings=asked.timings)
        else:
            text, tokens, finish_reason = asked.reply.finish()
            answer = replace(asked.blank, text=text, tokens=tokens, finish_reason=finish_reason, passes=passes)
            self._answered.keep(asked.key, answer)
        if self._drafts is not None and answer.finish_reason in ("stop", "length"):
            self._drafts.remember(asked.request, answer.model_wh, answer.text)
        spent = asked.timings
        generate_s = spent.generate_s + (decoding_s if asked.prefilled is not None else 0.0)
        decode_s = time.perf_counter() - began_s
        return replace(answer, timings=replace(spent, generate_s=generate_s, decode_s=decode_s))
