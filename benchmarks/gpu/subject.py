"""What is measured: models with random weights, with everything to ask them; and how time is taken."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoProcessor, GenerationConfig

from benchmarks.plain import PlainModel
from benchmarks.shapes import Shape, random_model
from vlm_perception.engines.drafting.drafter import DraftMemory
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.generator import Generator
from vlm_perception.engines.transformers.loading import LoadedModel
from vlm_perception.engines.transformers.memory import free_memory
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.engines.transformers.vision_tower import replace_vision_tower
from vlm_perception.engines.transformers.vocabulary import ByteVocabulary
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.types import Frame, FrameHeader, PixelBudget

_T = TypeVar("_T")

BUDGET = PixelBudget(4 * 28 * 28, 1288 * 1288)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything is done.

    Attributes:
        runs: Times that one thing is timed.
        frames: Moving frames that are answered exactly.
        dtypes: Number formats in which they are.
        scenes: Held-out scenes.
        answers: Answers in a row whose memory is watched.
        new_tokens: Tokens of an answer of a random model's own choice.
        objects: In the replies that are forced.
        kinds: Of the videos that they are about.
        images_wh: Sizes that are looked at.
        cache_lengths: Places of a cache that are filled before a pass.
    """

    runs: int
    frames: int
    dtypes: tuple[str, ...]
    scenes: int
    answers: int
    new_tokens: int
    objects: tuple[int, ...]
    kinds: tuple[str, ...]
    images_wh: tuple[tuple[int, int], ...]
    cache_lengths: tuple[int, ...]


ON_A_CARD = Effort(
    runs=20,
    frames=60,
    dtypes=("bfloat16", "float32"),
    scenes=60,
    answers=2000,
    new_tokens=64,
    objects=(1, 4, 12),
    kinds=("slow", "static", "fast"),
    images_wh=((448, 448), (896, 672), (896, 896), (1288, 728)),
    cache_lengths=(900, 1900, 3900),
)
IN_SHORT = Effort(
    runs=1,
    frames=2,
    dtypes=("bfloat16",),
    scenes=1,
    answers=8,
    new_tokens=8,
    objects=(2,),
    kinds=("slow",),
    images_wh=((112, 112), (140, 112)),
    cache_lengths=(100, 300),
)


class Subject:
    """A model of some shape with random weights, as the engine and as `generate` run it.

    Args:
        shape: Its sizes.
        device: "cuda" or "cpu".
        folder: The tiny checkpoint, whose tokens it takes.
    """

    def __init__(self, shape: Shape, device: str, folder: Path) -> None:
        self.shape, self.name, self.device, self._folder = shape, shape.name, device, folder
        processor: Any = AutoProcessor.from_pretrained(folder)
        vocabulary, end_ids = ByteVocabulary(processor.tokenizer), frozenset({int(processor.tokenizer.eos_token_id)})
        model = random_model(shape, device)
        replace_vision_tower(model)
        checkpoint = replace(find_checkpoint(str(folder)), origin="random weights", stored_dtype="bfloat16")
        self.loaded = LoadedModel(checkpoint, model, processor, vocabulary, end_ids)
        self.preprocessor = Preprocessor(processor, int(model.config.image_token_id), model.device)

    @property
    def model(self) -> Any:
        """The model, as the engine runs it."""
        return self.loaded.model

    @cached_property
    def plain(self) -> PlainModel:
        """The same weights once more, as transformers has them."""
        model = random_model(self.shape, self.device)
        model.generation_config = GenerationConfig.from_pretrained(self._folder)
        return PlainModel(str(self._folder), model=model)

    def generator(self, graph: bool, drafts: DraftMemory | None = None) -> Generator:
        """Make a generator as the engine does."""
        return Generator(self.loaded, drafts, graph=graph)

    def pass_bytes(self, places: int) -> int:
        """Count what a pass has to read: every weight of the decoder and the head once, and a bucket of the cache."""
        text = self.model.model.language_model
        weights = sum(weight.nbytes for weight in text.layers.parameters()) + self.model.lm_head.weight.nbytes
        head = text.config.hidden_size // text.config.num_attention_heads
        of_a_place = 2 * text.config.num_hidden_layers * text.config.num_key_value_heads * head
        return int(weights + places * of_a_place * self.model.dtype.itemsize)


class Subjects:
    """Makes subjects, one at a time: the one before makes room.

    Args:
        device: "cuda" or "cpu".
        folder: The tiny checkpoint with bounds as real ones have them.
        effort: How much is done.
    """

    def __init__(self, device: str, folder: Path, effort: Effort) -> None:
        self.device, self.folder, self.effort = device, folder, effort
        self._last: Subject | None = None

    @property
    def has_graphs(self) -> bool:
        """Whether passes can be recorded here."""
        return self.device == "cuda"

    def of(self, shape: Shape) -> Subject:
        """Return the subject of a shape."""
        if self._last is None or self._last.shape is not shape:
            self.free()
            self._last = Subject(shape, self.device, self.folder)
        return self._last

    def free(self) -> None:
        """Let go of the last one."""
        self._last = None
        free_memory()


@contextmanager
def wide_tiny() -> Iterator[Path]:
    """Copy the shipped checkpoint, with the bounds of pixels that real ones state; gone afterwards."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "wide_tiny"
        shutil.copytree(resolve_model("tiny"), path)
        config = path / "processor_config.json"
        processor = json.loads(config.read_text(encoding="utf-8"))
        processor["image_processor"]["size"] = {"shortest_edge": 3136, "longest_edge": 12_845_056}
        config.write_text(json.dumps(processor), encoding="utf-8")
        yield path


def noise_frame(image_wh: tuple[int, int], number: int) -> Frame:
    """Make a frame of noise, unlike any other one."""
    pixels: NDArray[np.uint8] = np.random.default_rng(number).integers(0, 255, (*image_wh[::-1], 3), np.uint8)
    return Frame(pixels, FrameHeader(number, 0, "camera"), "/noise", float(number))


def timed(device: str, action: Callable[[], _T]) -> tuple[float, _T]:
    """Return how long an action takes until the device is done with it, milliseconds; and what it gives."""
    wait_for(device)
    began_s = time.perf_counter()
    found = action()
    wait_for(device)
    return 1e3 * (time.perf_counter() - began_s), found


def median_ms(device: str, action: Callable[[], object], runs: int, warm_up: int = 2) -> float:
    """Return the median of so many runs, milliseconds."""
    return statistics.median([timed(device, action)[0] for _ in range(warm_up + runs)][warm_up:])


def wait_for(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
