"""Qwen2.5-VL in this process, through transformers. One code path for every size of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.engines.drafting.drafter import ALL_SOURCES, Source
from vlm_perception.engines.transformers.checkpoint import is_out_of_memory
from vlm_perception.engines.transformers.generator import Answering
from vlm_perception.engines.transformers.loading import load_checkpoint
from vlm_perception.engines.transformers.memory import free_memory
from vlm_perception.errors import GeometryError, InferenceError, ModelMemoryError
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Request

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class TransformersEngine:
    """A Qwen2.5-VL checkpoint, run by transformers on the devices accelerate finds.

    The pixel budget of a request is intersected with the bounds that the checkpoint's own
    processor states, for every checkpoint: one that was trained on small images keeps its maximum.
    """

    def __init__(
        self,
        model: str,
        device: str = "auto",
        dtype: str = "auto",
        drafts: frozenset[Source] = ALL_SOURCES,
    ) -> None:
        """Remember what to load; nothing is read yet.

        Args:
            model: Hub id or local folder.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            dtype: "auto" (the checkpoint's own), "float32", "float16" or "bfloat16".
            drafts: Where drafts of answers may come from; they never change an answer.
        """
        self._id, self._device, self._dtype = model, device, dtype
        self._drafts = drafts
        self._answering: Answering | None = None
        self._facts = self._unloaded_facts()

    @classmethod
    def from_settings(cls, settings: Settings) -> TransformersEngine:
        """Make the engine that the parameters ask for."""
        drafts = ALL_SOURCES if settings.drafting else frozenset[Source]()
        return cls(settings.model, settings.device, settings.dtype, drafts)

    @property
    def name(self) -> str:
        """The model id as it was asked for."""
        return self._id

    def load(self) -> None:
        """Find, check and load the checkpoint; does nothing when it is loaded.

        Raises:
            ModelLoadError: Wrong path, no hub, unknown family or too little memory, with the remedy.
        """
        if self._answering is not None:
            return
        try:
            loaded = load_checkpoint(self._id, self._device, self._dtype, self._tell_loading)
        except BaseException:
            self._facts = self._unloaded_facts()
            raise
        self._answering = Answering(loaded, self._drafts)
        self._facts = loaded.facts()
        _log.info("loaded %s", self._facts)

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """Answer one request; see `Engine.answer`.

        Raises:
            ModelMemoryError: Memory ran out; what the failed try held is free again.
            InferenceError: The model is not loaded or failed on this request.
            GeometryError: The frame's size or aspect ratio is outside the family's resize rule.
        """
        answering = self._loaded()
        return self._told([request], lambda: answering.answer(request, should_stop, on_text))

    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText] = ()
    ) -> list[Answer]:
        """Answer several requests at once; see `BatchEngine.answer_batch`.

        Raises:
            ModelMemoryError: As `answer`, for all of them together.
            InferenceError: As `answer`, for any of them.
            GeometryError: As `answer`, for any of them.
        """
        answering, told = self._loaded(), on_text or [ignore_text] * len(requests)
        return self._told(requests, lambda: answering.answer_batch(requests, should_stop, told))

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`.

        Raises:
            InferenceError: The model is not loaded.
            GeometryError: As `answer`.
        """
        return self._loaded().blank_answer(request)

    def describe(self) -> dict[str, str]:
        """Facts for diagnostics: `device`, `dtype`, `parameters`, `source`; `loading` while it loads."""
        return dict(self._facts)

    def forget(self) -> None:
        """Drop what earlier frames and answers left behind; the next answer takes as long as the first one."""
        if self._answering is not None:
            self._answering.forget()

    def close(self) -> None:
        """Free the model and its memory; the engine may be loaded again."""
        self._answering = None
        self._facts = self._unloaded_facts()
        free_memory()

    def _tell_loading(self, stage: str) -> None:
        # A new dictionary, because another thread may be reading the old one.
        self._facts = {**self._unloaded_facts(), "loading": stage}

    def _unloaded_facts(self) -> dict[str, str]:
        return {"device": self._device, "dtype": self._dtype, "parameters": "not loaded", "source": self._id}

    def _loaded(self) -> Answering:
        if self._answering is None:
            raise InferenceError(f"{self._id} is not loaded; call load() first")
        return self._answering

    def _told(self, requests: Sequence[Request], ask: Callable[[], _T]) -> _T:
        """Run the model, and make an `InferenceError` that names the requests of whatever goes wrong."""
        try:
            with torch.inference_mode():
                return ask()
        except GeometryError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                sizes = ", ".join(str(request.frame.image_wh) for request in requests)
                raise InferenceError(f"{self._id} failed on a {sizes} frame: {error}") from error
            reason = str(error).rstrip(".") or type(error).__name__
        # Not before here: the error held the frames of the failed try, and with them its tensors.
        self._loaded().release()
        free_memory()
        pixels = max(request.budget.max_pixels for request in requests)
        limit = max(request.max_new_tokens for request in requests)
        budget = f"{len(requests)} at once, max_pixels {pixels}, max_new_tokens {limit}"
        raise ModelMemoryError(f"out of memory with {budget}; lower them: {reason}")
