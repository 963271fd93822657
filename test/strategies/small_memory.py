"""A device with too little memory, played on a real model: passes fail as torch lets them fail, inside the model."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from checkout import TINY
from torch.nn import Module
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import AutoProcessor

_PATCH_PX = 14 * 14

# What torch and Python raise, with their own words.
OUT_OF_MEMORY: dict[str, Callable[[], Exception]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"
    ),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cublas start": lambda: RuntimeError(
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"
    ),
    "cudnn": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "jetson": lambda: RuntimeError(
        'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "c10/cuda/CUDACachingAllocator.cpp":1016, please report a bug'
    ),
    "python": MemoryError,
}


class SmallMemory:
    """Fails the passes that do not fit.

    Attributes:
        room_px: Images of more pixels do not fit.
        failing: Numbers of the decoder passes that do not fit, counted from 0 over all answers.
        raises: Makes the error.
        images_px: Pixels of each image that the model began to look at.
        passes: Decoder passes so far.
        before_pass: Called before each of them.
        held: A tensor of each failed pass, as long as anything keeps it.
    """

    def __init__(self) -> None:
        self.room_px = float("inf")
        self.failing: set[int] = set()
        self.raises = OUT_OF_MEMORY["cuda"]
        self.images_px: list[int] = []
        self.passes = 0
        self.before_pass: Callable[[], None] = lambda: None
        self.held: list[weakref.ref[torch.Tensor]] = []

    def watch(self, module: Module, arguments: tuple[Any, ...]) -> None:
        """See `register_module_forward_pre_hook`."""
        name = type(module).__name__
        if name == "VisionTower":
            self.images_px.append(arguments[0].shape[0] * _PATCH_PX)
            if self.images_px[-1] > self.room_px:
                self._fail()
        if name == "Qwen2_5_VLTextModel":
            self.before_pass()
            self.passes += 1
            if self.passes - 1 in self.failing:
                self._fail()

    def _fail(self) -> None:
        activations = torch.zeros(1000)
        self.held.append(weakref.ref(activations))
        raise self.raises()


@contextmanager
def small_memory() -> Iterator[SmallMemory]:
    """Watch every model of this process."""
    memory = SmallMemory()
    hook = register_module_forward_pre_hook(memory.watch)
    try:
        yield memory
    finally:
        hook.remove()


def wide_tiny(folder: Path) -> Path:
    """Copy the trained tiny checkpoint, with the bounds of pixels that real Qwen2.5-VL checkpoints state."""
    shutil.copytree(TINY, folder)
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": 12_845_056}
    processor.save_pretrained(folder)
    return folder
