"""The memory a model takes: whether there is enough, and giving it back."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import psutil
import torch

from vlm_perception.engines.transformers.checkpoint import Checkpoint, remedy
from vlm_perception.errors import ModelLoadError

# Weights plus what one frame needs beside them: activations, caches, the library itself.
_WORKING_SHARE = 1.15
_DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "F32": 4, "BF16": 2, "F16": 2}
_GIB = 2**30


def check_memory(checkpoint: Checkpoint, *, device: str, dtype: str) -> None:
    """Refuse a checkpoint that cannot fit, rather than let the system run out of memory.

    Args:
        checkpoint: What is to be loaded.
        device: Settings' `device`.
        dtype: Settings' `dtype`.

    Raises:
        ModelLoadError: It needs more than is free; the message says how much and what to do.
    """
    target = checkpoint.stored_dtype if dtype == "auto" else dtype
    growth = _DTYPE_BYTES.get(target, 2) / _DTYPE_BYTES.get(checkpoint.stored_dtype, 2)
    needed = checkpoint.weight_bytes * growth * _WORKING_SHARE
    free, where = _free_bytes(device)
    if needed > free:
        raise ModelLoadError(
            f"{checkpoint.folder.name} needs about {needed / _GIB:.1f} GiB as {target}, {where} has "
            f"{free / _GIB:.1f} GiB free; free memory, choose a smaller model or dtype bfloat16; {remedy()}"
        )


def free_memory() -> None:
    """Collect what nothing refers to any more and give its memory back to the GPU and the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform == "linux":
        # glibc keeps what was freed for later, which after a model is gigabytes; musl has no such function.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def free_bytes(device: str) -> int:
    """Return the memory that tensors may still take on a device, what torch holds ready included."""
    free, _ = _free_bytes(device)
    if device.startswith("cuda"):
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free


def _free_bytes(device: str) -> tuple[int, str]:
    """Return the free memory of where the weights will lie; `auto` may spread over GPUs and the host."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return torch.cuda.mem_get_info(int(index or 0))[0], f"GPU {index or 0}"
    free = int(psutil.virtual_memory().available)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        # A container may hold less than the machine.
        free = min(free, max(0, int(text) - int(used.read_text())))
    if kind == "auto":
        free += sum(torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count()))
    return free, "this machine" if kind == "auto" else "the host"
