"""The memory a model takes: whether there is enough, and giving it back."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import psutil
import torch

from vlm_perception.engines.transformers.checkpoint import Checkpoint
from vlm_perception.engines.transformers.placement import Gpu, Machine, Placement, Weights, place_weights

_DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "F32": 4, "BF16": 2, "F16": 2}


def find_place(checkpoint: Checkpoint, *, device: str, dtype: str) -> Placement:
    """Find where a checkpoint's weights can lie, rather than let the system run out of memory.

    Args:
        checkpoint: What is to be loaded.
        device: Settings' `device`; one that there is.
        dtype: Settings' `dtype`.

    Raises:
        ModelLoadError: It needs more than is free; the message says how much and what to do.
    """
    target = checkpoint.stored_dtype if dtype == "auto" else dtype
    growth = _DTYPE_BYTES.get(target, 2) / _DTYPE_BYTES.get(checkpoint.stored_dtype, 2)
    weights = Weights(checkpoint.folder.name, int(checkpoint.weight_bytes * growth), target)
    return place_weights(weights, device, _machine())


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
    if not device.startswith("cuda"):
        return _host_free_bytes()
    room = Machine(_host_free_bytes()).room_of(_gpu(int(device.partition(":")[2] or 0)))
    return room + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _machine() -> Machine:
    gpus = tuple(map(_gpu, range(torch.cuda.device_count())))
    return Machine(_host_free_bytes(), gpus, torch.backends.mps.is_available())


def _gpu(index: int) -> Gpu:
    integrated = bool(torch.cuda.get_device_properties(index).is_integrated)
    return Gpu(index, torch.cuda.mem_get_info(index)[0], integrated)


def _host_free_bytes() -> int:
    free = int(psutil.virtual_memory().available)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        # A container may hold less than the machine.
        free = min(free, max(0, int(text) - int(used.read_text())))
    return free
