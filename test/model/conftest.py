"""Checkpoints and requests for the engine's tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkout import TINY
from transformers import AutoProcessor, AutoTokenizer

from benchmarks.plain import PlainModel
from training.checkpoint import SMALL_PIXELS, build_model, build_processor, build_tokenizer
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Prompt, Request, Task

RequestMaker = Callable[..., Request]


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained tiny model: it sees few pixels, writes random bytes and hardly ever stops."""
    folder = tmp_path_factory.mktemp("random_checkpoint")
    tokenizer = build_tokenizer(["red circle", "蓝色的圆", '```json\n[{"bbox_2d": [1, 2, 3, 4]}]\n```'])
    torch.manual_seed(3)
    model = build_model(tokenizer)
    model.save_pretrained(folder)
    build_processor(tokenizer, SMALL_PIXELS["Qwen2.5-VL"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def random_engine(random_checkpoint: Path) -> TransformersEngine:
    return open_engine(random_checkpoint)


@pytest.fixture(scope="session")
def tiny() -> Iterator[TransformersEngine]:
    """The shipped checkpoint; whoever needs it fresh lets it forget."""
    engine = open_engine(TINY)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def undrafted() -> Iterator[TransformersEngine]:
    engine = open_engine(TINY, drafting=False)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def plain() -> PlainModel:
    """The shipped checkpoint, asked by transformers' own `generate`."""
    return PlainModel(TINY)


@pytest.fixture
def make_request() -> RequestMaker:
    def make(
        rgb: np.ndarray | None = None,
        *,
        prompt: Prompt | None = None,
        max_new_tokens: int = 24,
        budget: PixelBudget | None = None,
    ) -> Request:
        if rgb is None:
            rgb = np.random.default_rng(5).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        frame = Frame(rgb, FrameHeader(12, 34, "camera"), "/image", 0.0)
        asked = prompt or Prompt("red circle", Task.DETECT, "Locate red circle in JSON format.", ("red circle",))
        return Request(frame, asked, budget or PixelBudget(224 * 224, 1024 * 1024), max_new_tokens)

    return make


@pytest.fixture(scope="session")
def tokenizer(random_checkpoint: Path) -> Any:
    return AutoTokenizer.from_pretrained(random_checkpoint)


@pytest.fixture(scope="session")
def wide_engine(random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> TransformersEngine:
    """The same untrained model with the pixel bounds that real Qwen2.5-VL checkpoints state."""
    folder = tmp_path_factory.mktemp("wide_checkpoint")
    shutil.copytree(random_checkpoint, folder, dirs_exist_ok=True)
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": 12_845_056}
    processor.save_pretrained(folder)
    return open_engine(folder)
