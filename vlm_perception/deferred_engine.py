"""An engine whose libraries are imported only when it is loaded.

Importing torch and transformers takes many seconds; a node that does it at the top hears neither
prompts nor signals meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from vlm_perception.engines.base import BatchEngine, Engine, OnText, ShouldStop, ignore_text
from vlm_perception.errors import InferenceError
from vlm_perception.types import Answer, Request


class DeferredEngine:
    """Makes the real engine in `load`, on the thread that calls it.

    Args:
        name: Name to show until then and after.
        make: Imports and makes the engine, without loading it.
    """

    def __init__(self, name: str, make: Callable[[], Engine]) -> None:
        self._name = name
        self._make = make
        self._engine: Engine | None = None

    @property
    def name(self) -> str:
        """Name given at the start."""
        return self._name

    def load(self) -> None:
        """See `Engine.load`."""
        engine = self._engine or self._make()
        engine.load()
        self._engine = engine

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        """See `Engine.answer`."""
        return self._loaded().answer(request, should_stop, on_text)

    def answer_batch(
        self, requests: Sequence[Request], should_stop: Sequence[ShouldStop], on_text: Sequence[OnText] = ()
    ) -> list[Answer]:
        """See `BatchEngine.answer_batch`; one after another when the real engine knows no batches."""
        engine = self._loaded()
        if hasattr(engine, "answer_batch"):
            return cast(BatchEngine, engine).answer_batch(requests, should_stop, on_text)
        rows = zip(requests, should_stop, on_text or [ignore_text] * len(requests), strict=True)
        return [engine.answer(*row) for row in rows]

    def blank_answer(self, request: Request) -> Answer:
        """See `Engine.blank_answer`."""
        return self._loaded().blank_answer(request)

    def describe(self) -> dict[str, str]:
        """See `Engine.describe`; empty until the engine is loaded."""
        return self._engine.describe() if self._engine else {}

    def close(self) -> None:
        """See `Engine.close`."""
        if self._engine is not None:
            self._engine.close()

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise InferenceError(f"{self._name} is not loaded: call load() first")
        return self._engine
