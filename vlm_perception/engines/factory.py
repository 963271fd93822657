"""Where engines plug in: which of them answers, told by the parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vlm_perception.engines.base import Engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.settings import Settings


def make_engine(settings: Callable[[], Settings]) -> Engine:
    """Make the engine that the parameters ask for; heavy libraries are imported when it is loaded.

    Args:
        settings: Asked anew at every `load`, so that parameters may change while the engine is closed.
    """
    return TransformersEngine(settings)


def open_engine(
    model: str | Path = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    vision_attention: str = "auto",
    decoder: str = "auto",
    drafting: bool = True,
) -> Engine:
    """Load a model, ready to be asked; `close` frees it.

    Args:
        model: Hub id, local folder, or "tiny" for the checkpoint that ships with the product.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto" (the checkpoint's own), "float32", "float16" or "bfloat16".
        vision_attention: "auto", "sdpa" or "flash_attention_2".
        decoder: "auto", "eager" or "graph" (CUDA graphs).
        drafting: Draft tokens from earlier answers; it changes no bit of an answer.

    Raises:
        SettingsError: An argument is none of those.
        ModelLoadError: It cannot be loaded; the message names the remedy.
    """
    settings = Settings.from_mapping(
        {
            "model": str(model),
            "device": device,
            "dtype": dtype,
            "vision_attention": vision_attention,
            "decoder": decoder,
            "drafting": drafting,
        }
    )
    engine = make_engine(lambda: settings)
    engine.load()
    return engine
