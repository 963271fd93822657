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

    Once closed it makes another one, so that it may be asked for something else in between.

    Args:
        name: Tells the name to show.
        make: Imports and makes the engine, without loading it.
    """

    def __init__(self, name: Callable[[], str], make: Callable[[], Engine]) -> None:
        self._name = name
        self._make = make
        self._engine: Engine | None = None
        self._is_making = self._is_loaded = False

    @property
    def name(self) -> str:
        """Name of what is asked for."""
        return self._name()

    def load(self) -> None:
        """See `Engine.load`."""
        if self._engine is None:
            self._is_making = True
            try:
                self._engine = self._make()
            finally:
                self._is_making = False
        self._engine.load()
        self._is_loaded = True

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
        """See `Engine.describe`; nothing of it until the engine is made."""
        engine = self._engine
        if engine is None:
            return {"loading": "importing the libraries"} if self._is_making else {}
        return engine.describe()

    def close(self) -> None:
        """See `Engine.close`."""
        engine, self._engine, self._is_loaded = self._engine, None, False
        if engine is not None:
            engine.close()

    def _loaded(self) -> Engine:
        if self._engine is None or not self._is_loaded:
            raise InferenceError(f"{self.name} is not loaded: call load() first")
        return self._engine
