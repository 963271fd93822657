"""From a request to an answer with a loaded model: prepared, read, written, remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text, never_stop
from vlm_perception.engines.drafting.drafter import DraftMemory, NoDraft
from vlm_perception.engines.transformers.cuda_graphs import RecordOnCuda
from vlm_perception.engines.transformers.decoder_pass import Decoder
from vlm_perception.engines.transformers.loading import LoadedModel
from vlm_perception.engines.transformers.prefill import Prefill, Prefix
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.engines.transformers.reply_stream import PrefillStopped, ReplyStream, stoppable_prefill
from vlm_perception.engines.transformers.speculative import ReplyStart, Written, decode_speculatively
from vlm_perception.replies.coordinates import coordinate_wh
from vlm_perception.types import WH, Answer, Request, Timings


@dataclass(frozen=True, slots=True)
class _Begun:
    """An answer whose reply can be written.

    Attributes:
        request: What is asked.
        blank: The answer before its first word, with the timings until here.
        reply: Reads what is written.
        start: What the decoder needs; None when it was stopped before.
    """

    request: Request
    blank: Answer
    reply: ReplyStream
    start: ReplyStart | None


class Generator:
    """Answers requests with one loaded model.

    Args:
        loaded: The checkpoint.
        drafts: Proposes how answers go on, which changes none; None for plain decoding.
        graph: Whether decoder passes are CUDA graphs.
    """

    def __init__(self, loaded: LoadedModel, drafts: DraftMemory | None, *, graph: bool = False) -> None:
        self._loaded, self._drafts, self._record = loaded, drafts, RecordOnCuda(loaded.model.device) if graph else None
        config = loaded.model.config
        self._preprocessor = Preprocessor(
            loaded.processor,
            int(config.image_token_id),
            loaded.model.device,
            video_id=int(config.video_token_id),
            times_in_text=loaded.checkpoint.family.times_in_text,
        )
        # Of families with times as positions alone.
        self._ticks_per_second = float(getattr(config.vision_config, "tokens_per_second", 1))
        self.release()

    def forget(self) -> None:
        """Drop everything that earlier requests left behind; the next answer is as the first one."""
        self.release()
        if self._drafts is not None:
            self._drafts.forget()

    def release(self) -> None:
        """Let go of what earlier frames keep in the device's memory; what answers told stays known."""
        self._prefill, self._decoder = Prefill(self._loaded.model), Decoder(self._loaded.model, self._record)

    def warm_up(self) -> None:
        """Answer a grey image, so that a first frame finds everything made that is made once."""
        self.answer(self._preprocessor.grey_request(), never_stop, ignore_text)
        if self._drafts is not None:
            self._drafts.forget()

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        checkpoint, unknown = self._loaded.checkpoint, Timings(0.0, 0.0, 0.0)
        model_wh = self._preprocessor.plan_wh(request)
        return Answer("", model_wh, checkpoint.family.coordinates, "unfinished", (), unknown, checkpoint.calibration)

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText) -> Answer:
        """See `Engine.answer`."""
        return self.answer_batch([request], [should_stop], [on_text])[0]

    @torch.inference_mode()
    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText]
    ) -> list[Answer]:
        """See `BatchEngine.answer_batch`."""
        asked = zip(requests, should_stop, on_text, strict=True)
        begun = [self._begin(slot, *each) for slot, each in enumerate(asked)]
        began_s = time.perf_counter()
        written = iter(decode_speculatively(self._decoder, [each.start for each in begun if each.start]))
        decoding_s = time.perf_counter() - began_s
        return [self._finish(each, next(written), decoding_s) if each.start else _stopped(each) for each in begun]

    def _begin(self, slot: int, request: Request, should_stop: ShouldStop, on_text: OnText) -> _Begun:
        """Prepare a request and have the model read it up to the end of its image."""
        model, began_s = self._loaded.model, time.perf_counter()
        blank = self.blank_answer(request)
        reply = ReplyStream(self._loaded.vocabulary, self._loaded.end_ids, should_stop, on_text)
        instruction, prefix, read = self._prepared(request, blank.model_wh)
        prepared_s = time.perf_counter()
        if prefix is None:
            with suppress(PrefillStopped), stoppable_prefill(model, reply):
                prefix = read()
        start = None
        if prefix is not None:
            self._decoder.load(slot, prefix)
            drafts = self._drafts_of(request)
            drafter = drafts.drafter(request, _drafted_wh(blank)) if drafts else NoDraft()
            place, position = prefix.length, prefix.next_position
            start = ReplyStart(slot, place, position, instruction, reply, drafter, request.max_new_tokens)
        prefill_s = time.perf_counter() - prepared_s
        timings = Timings(prepared_s - began_s, prefill_s, 0.0, prefill_s=prefill_s)
        return _Begun(request, replace(blank, timings=timings), reply, start)

    def _prepared(self, request: Request, model_wh: WH) -> tuple[tuple[int, ...], Prefix | None, Callable[[], Prefix]]:
        """Return the tokens behind image or clip, what is kept of the rest, and what reads that where nothing is."""
        asked, clip = request.prompt.instruction, request.clip
        if clip is not None:
            watched = self._preprocessor.clip_tokens(asked, clip)
            pixels = self._preprocessor.clip_patches(request, clip)
            ticks = self._preprocessor.ticks(clip, self._ticks_per_second)
            return watched.after, None, lambda: self._prefill.read_clip(watched, pixels, ticks)
        tokens = self._preprocessor.tokens(asked)
        frame = request.frame, model_wh, tokens
        prefix = self._prefill.find(*frame)
        if prefix is not None:
            return tokens.after, prefix, lambda: prefix
        patches = self._preprocessor.patches(request)
        return tokens.after, None, lambda: self._prefill.read(*frame, patches)

    def _drafts_of(self, request: Request) -> DraftMemory | None:
        """Drafts are of lists of boxes and of how these move; an answer about a clip has none."""
        return self._drafts if request.clip is None else None

    def _finish(self, begun: _Begun, written: Written, decoding_s: float) -> Answer:
        """Make the answer of what was written, and remember it."""
        began_s, blank = time.perf_counter(), begun.blank
        text, tokens, finish_reason = begun.reply.finish()
        drafts = self._drafts_of(begun.request)
        if drafts is not None and finish_reason in ("stop", "length"):
            drafts.remember(begun.request, _drafted_wh(blank), text)
        timings = replace(
            blank.timings,
            generate_s=blank.timings.generate_s + decoding_s,
            prefill_s=blank.timings.prefill_s + written.first_token_s,
            decode_s=time.perf_counter() - began_s,
        )
        passes = written.passes
        return replace(blank, text=text, tokens=tokens, finish_reason=finish_reason, passes=passes, timings=timings)


def _drafted_wh(answer: Answer) -> WH:
    """Tell what drafts are bounded by."""
    return coordinate_wh(answer.model_wh, answer.coordinates)


def _stopped(begun: _Begun) -> Answer:
    """Make the answer of a request that was stopped while the model read its image."""
    text, tokens, finish_reason = begun.reply.finish()
    return replace(begun.blank, text=text, tokens=tokens, finish_reason=finish_reason)
