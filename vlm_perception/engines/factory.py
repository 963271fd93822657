"""Where engines plug in: which of them answers, told by the parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from vlm_perception.engines.base import Engine
from vlm_perception.engines.fallback import FallbackEngine
from vlm_perception.engines.openai.address import is_url
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.settings import Settings


def make_engine(settings: Callable[[], Settings]) -> Engine:
    """Make the engine that the parameters ask for; heavy libraries are imported when it is loaded.

    Args:
        settings: Asked anew at every `load`, so that parameters may change while the engine is closed.
    """
    return cast(Engine, _ChosenEngine(settings))


def open_engine(model: str | Path = "tiny", **parameters: Any) -> Engine:
    """Load a model, ready to be asked; `close` frees it.

    Args:
        model: Hub id, local folder, "tiny" for the checkpoint that ships with the product, or the URL of a server.
        parameters: Any others that concern the model, by their names in docs/parameters.md: `device`, `dtype`,
            `drafting`, `servers` ...

    Raises:
        SettingsError: There is no such parameter, or it cannot have this value.
        ModelLoadError: It cannot be loaded; the message names the remedy.
    """
    settings = Settings.from_mapping({"model": str(model), **parameters})
    engine = _chosen(lambda: settings)
    engine.load()
    return engine


def _chosen(settings: Callable[[], Settings]) -> Engine:
    now = settings()
    if not is_url(now.model) and not now.servers:
        return TransformersEngine(settings)
    # Here, because its libraries take half a second to import, and few need them.
    from vlm_perception.engines.openai.engine import OpenAIEngine

    if not now.fallback_model:
        return OpenAIEngine(settings)
    servers = OpenAIEngine(settings, has_fallback=True)
    local = TransformersEngine(lambda: settings().changed(model=settings().fallback_model, servers=[]))
    return FallbackEngine(servers, local, now.max_in_flight)


class _ChosenEngine:
    """The engine that the parameters asked for at the last `load`, with all that it offers."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings, self._engine, self._is_loaded = settings, _chosen(settings), False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def load(self) -> None:
        """See `Engine.load`."""
        if not self._is_loaded:
            self._engine = _chosen(self._settings)
            self._engine.load()
            self._is_loaded = True

    def close(self) -> None:
        """See `Engine.close`."""
        self._is_loaded = False
        self._engine.close()
