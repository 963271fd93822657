"""Qwen's models in this process, through transformers. One code path for every size of a family.

Importing torch and transformers takes many seconds, and a node that does it at the top hears neither prompts nor
signals meanwhile: they are imported in `load`, and nothing here needs them before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from vlm_perception.engines.base import OnText, ShouldStop, ignore_text
from vlm_perception.engines.drafting.drafter import DraftMemory
from vlm_perception.engines.transformers.devices import refuse_absent_device
from vlm_perception.errors import DeviceLostError, GeometryError, InferenceError, ModelLoadError, ModelMemoryError
from vlm_perception.settings import Settings
from vlm_perception.types import Answer, Request

if TYPE_CHECKING:
    from vlm_perception.engines.transformers.generator import Generator
    from vlm_perception.engines.transformers.stepwise import StepwiseGenerator

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class TransformersEngine:
    """A checkpoint of a known family, run by transformers on one device, or on several GPUs if none holds it alone.

    The pixel budget of a request is intersected with the bounds that the checkpoint's own
    processor states, for every checkpoint: one that was trained on small images keeps its maximum.

    Args:
        settings: Asked at every `load` for what concerns the model; nothing is read before.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._generator: Generator | StepwiseGenerator | None = None
        self._facts: dict[str, str] = {}
        self._loading = ""

    @property
    def name(self) -> str:
        """The model as it was asked for."""
        return self._settings().model

    def load(self) -> None:
        """Find, check and load the checkpoint; see `Engine.load`."""
        if self._generator is not None:
            return
        settings = self._settings()
        try:
            from vlm_perception.engines.transformers.checkpoint import find_checkpoint
            from vlm_perception.engines.transformers.quantization import require_packages

            # What needs no torch comes first: a wrong folder or device is told within a second or two.
            refuse_absent_device(settings.device)
            self._tell(f"finding {settings.model}, which may mean to download it")
            checkpoint = find_checkpoint(settings.model)
            require_packages(checkpoint.quantization, settings.quantize)
            self._tell("importing the libraries")
            from vlm_perception.engines.transformers.cuda_graphs import choose_graph, refuse_graph
            from vlm_perception.engines.transformers.generator import Generator
            from vlm_perception.engines.transformers.loading import load_checkpoint
            from vlm_perception.engines.transformers.stepwise import StepwiseGenerator

            loaded = load_checkpoint(
                checkpoint,
                settings.device,
                settings.dtype,
                self._tell,
                vision_attention=settings.vision_attention,
                quantize=settings.quantize,
            )
            family, drafting = checkpoint.family, "on" if settings.drafting else "off"
            generator: Generator | StepwiseGenerator
            if family.stepwise:
                refuse_graph(settings.decoder, family.stepwise)
                graph, drafting = False, f"off: {family.stepwise}"
                generator = StepwiseGenerator(loaded)
            else:
                graph = choose_graph(settings.decoder, loaded.model, loaded.quantized)
                drafts = DraftMemory(loaded.vocabulary) if settings.drafting else None
                generator = Generator(loaded, drafts, graph=graph)
            self._tell("answering a first image")
            try:
                generator.warm_up()
            except Exception as error:
                reason = f"{error}{_remedy_of(error, loaded.facts()['dtype'])}"
                raise ModelLoadError(f"{settings.model} was loaded and cannot answer: {reason}") from error
            self._generator = generator
            self._facts = {**loaded.facts(), "decoder": "graph" if graph else "eager", "drafting": drafting}
        finally:
            self._tell("")
        _log.info("loaded %s", self._facts)

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`."""
        generator = self._loaded()
        return self._told([request], lambda: generator.answer(request, should_stop, on_text))

    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText] = ()
    ) -> list[Answer]:
        """See `BatchEngine.answer_batch`."""
        generator, told = self._loaded(), on_text or [ignore_text] * len(requests)
        return self._told(requests, lambda: generator.answer_batch(requests, should_stop, told))

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        return self._loaded().blank_answer(request)

    def describe(self) -> dict[str, str]:
        """Facts for diagnostics: see `Engine.describe`, and `decoder` and `drafting`, or why not."""
        if facts := self._facts:
            return dict(facts)
        asked, stage = self._settings(), self._loading
        facts = {"device": asked.device, "dtype": asked.dtype, "parameters": "not loaded", "source": asked.model}
        return {**facts, "loading": stage} if stage else facts

    def forget(self) -> None:
        """Drop what earlier frames and answers left behind; the next answer takes as long as the first one."""
        if self._generator is not None:
            self._generator.forget()

    def close(self) -> None:
        """Free the model and its memory; the engine may be loaded again."""
        if self._generator is not None:
            self._generator, self._facts = None, {}
            _free_memory()

    def _tell(self, stage: str) -> None:
        self._loading = stage

    def _loaded(self) -> Generator | StepwiseGenerator:
        if self._generator is None:
            raise InferenceError(f"{self.name} is not loaded: call load() first")
        return self._generator

    def _told(self, requests: Sequence[Request], ask: Callable[[], _T]) -> _T:
        """Run the model, and make an `InferenceError` that names the requests of whatever goes wrong."""
        from vlm_perception.engines.transformers.device_errors import is_device_lost, is_out_of_memory

        try:
            return ask()
        except GeometryError:
            raise
        except Exception as error:
            sizes = ", ".join(str(request.frame.image_wh) for request in requests)
            if is_device_lost(error):
                # Nothing more is asked of the device before: it would fail in its own words.
                raise DeviceLostError(
                    f"{self.name} lost its device on a {sizes} frame; start the process again: {error}"
                ) from error
            if not is_out_of_memory(error):
                # What a failed pass has written may be no numbers; the next answer must not meet it.
                self._loaded().release()
                reason = f"{error}{_remedy_of(error, self._facts['dtype'])}"
                raise InferenceError(f"{self.name} failed on a {sizes} frame: {reason}") from error
            reason = str(error).rstrip(".") or type(error).__name__
        # Not before here: the error held the frames of the failed try, and with them its tensors.
        self._loaded().release()
        _free_memory()
        pixels = max(request.budget.max_pixels for request in requests)
        limit = max(request.max_new_tokens for request in requests)
        budget = f"{len(requests)} at once, max_pixels {pixels}, max_new_tokens {limit}"
        raise ModelMemoryError(f"out of memory with {budget}; lower them: {reason}")


def _remedy_of(error: Exception, dtype: str) -> str:
    if not isinstance(error, FloatingPointError):
        return ""
    return f" in {dtype}; set dtype to bfloat16 or float32 (float16 overflows in this family), or check the weights"


def _free_memory() -> None:
    from vlm_perception.engines.transformers.memory import free_memory

    free_memory()
