"""Answers of models that cannot be drafted (`Family.stepwise`): read whole, then written token by token.

Recurrent state is one sum over all that was read: it cannot be cut back to fewer tokens, so neither a draft that was
wrong nor rows that fill up a pass (see `decoder_pass.py`) can be taken out of it, and no prompt's beginning is shared.
Experts compute the tokens that come to them in one product, whose last bits differ with their number.
Passes are transformers' own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from transformers import DynamicCache

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text, never_stop
from vlm_perception.engines.transformers.loading import LoadedModel
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.engines.transformers.reply_stream import PrefillStopped, ReplyStream, stoppable_prefill
from vlm_perception.types import Answer, Clip, Request, Timings


class StepwiseGenerator:
    """Answers requests with one loaded model, one after the other; has the methods of `Generator`.

    Args:
        loaded: The checkpoint.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded, self._model = loaded, loaded.model
        self._image_id = int(loaded.model.config.image_token_id)
        self._video_id = int(loaded.model.config.video_token_id)
        self._preprocessor = Preprocessor(
            loaded.processor,
            self._image_id,
            loaded.model.device,
            video_id=self._video_id,
            times_in_text=loaded.checkpoint.family.times_in_text,
        )

    def forget(self) -> None:
        """Do nothing: nothing is kept of an answer."""

    def release(self) -> None:
        """Do nothing: nothing is kept of a frame."""

    def warm_up(self) -> None:
        """Answer a grey image, so that a first frame finds everything made that is made once."""
        self.answer(self._preprocessor.grey_request(), never_stop, ignore_text)

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        checkpoint, unknown = self._loaded.checkpoint, Timings(0.0, 0.0, 0.0)
        model_wh, coordinates = self._preprocessor.plan_wh(request), checkpoint.family.coordinates
        return Answer("", model_wh, coordinates, "unfinished", (), unknown, checkpoint.calibration)

    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText]
    ) -> list[Answer]:
        """See `BatchEngine.answer_batch`."""
        return [self.answer(*each) for each in zip(requests, should_stop, on_text, strict=True)]

    @torch.inference_mode()
    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText) -> Answer:
        """See `Engine.answer`."""
        began_s, blank = time.perf_counter(), self.blank_answer(request)
        reply = ReplyStream(self._loaded.vocabulary, self._loaded.end_ids, should_stop, on_text)
        inputs = self._inputs(request)
        prepared_s = read_s = time.perf_counter()
        cache = DynamicCache(config=self._model.config.get_text_config())
        passes = 0
        with suppress(PrefillStopped):
            with stoppable_prefill(self._model, reply):
                logits = self._pass(cache, **inputs)
            read_s = time.perf_counter()
            passes = 1
            while not self._read_choice(logits, reply) and passes < request.max_new_tokens:
                logits = self._pass(cache, input_ids=logits.argmax()[None, None])
                passes += 1
        written_s = time.perf_counter()
        text, tokens, finish_reason = reply.finish()
        timings = Timings(
            prepared_s - began_s,
            written_s - prepared_s,
            time.perf_counter() - written_s,
            prefill_s=read_s - prepared_s,
        )
        return replace(blank, text=text, tokens=tokens, finish_reason=finish_reason, passes=passes, timings=timings)

    def _inputs(self, request: Request) -> dict[str, torch.Tensor]:
        """Write the prompt around as many image tokens as the image, or each grid of the clip, has."""
        if request.clip is not None:
            return self._clip_inputs(request, request.clip)
        tokens, patches = self._preprocessor.tokens(request.prompt.instruction), self._preprocessor.patches(request)
        device, merge = self._model.device, int(self._model.config.vision_config.spatial_merge_size)
        count = len(patches.pixels) // merge**2
        ids = torch.tensor([[*tokens.before, *[self._image_id] * count, *tokens.after]], device=device)
        return {
            "input_ids": ids,
            "mm_token_type_ids": (ids == self._image_id).int(),
            "pixel_values": patches.pixels.to(device),
            "image_grid_thw": torch.tensor([patches.grid_thw], device=device),
        }

    def _clip_inputs(self, request: Request, clip: Clip) -> dict[str, torch.Tensor]:
        tokens = self._preprocessor.clip_tokens(request.prompt.instruction, clip)
        patches = self._preprocessor.clip_patches(request, clip)
        device, merge = self._model.device, int(self._model.config.vision_config.spatial_merge_size)
        grids, rows, columns = patches.grid_thw
        cells = [self._video_id] * (rows * columns // merge**2)
        ids = torch.tensor(
            [[*(each for words in tokens.before for each in (*words, *cells)), *tokens.after]], device=device
        )
        return {
            "input_ids": ids,
            "mm_token_type_ids": (ids == self._video_id).int() * 2,
            "pixel_values_videos": patches.pixels.to(device),
            "video_grid_thw": torch.tensor([[grids, rows, columns]], device=device),
        }

    def _pass(self, cache: Any, **inputs: torch.Tensor) -> torch.Tensor:
        """Read more tokens; return the logits behind the last one, (vocabulary,) float32."""
        seen = self._model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = seen.logits[0, -1].float()
        return logits

    @staticmethod
    def _read_choice(logits: torch.Tensor, reply: ReplyStream) -> bool:
        """Hand on what the model chooses; whether the reply is over."""
        choice = logits.argmax()
        logprob = logits[choice] - logits.logsumexp(-1)
        return reply.read(int(choice), float(logprob))
