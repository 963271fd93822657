"""An engine whose libraries are imported only when it is loaded.

Importing torch and transformers takes many seconds; a node that does it at the top hears neither
prompts nor signals meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from vlm_perception.engines.base import Engine, OnText, ShouldStop, ignore_text
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
