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
from vlm_perception.engines.transformers.weight_bytes import loaded_bytes


def find_place(checkpoint: Checkpoint, *, device: str, dtype: str, quantize: str = "none") -> Placement:
    """Find where a checkpoint's weights can lie, rather than let the system run out of memory.

    Args:
        checkpoint: What is to be loaded.
        device: Settings' `device`; one that there is.
        dtype: Settings' `dtype`.
        quantize: Settings' `quantize`.

    Raises:
        ModelLoadError: It needs more than is free; the message says how much and what to do.
    """
    target = checkpoint.stored_dtype if dtype == "auto" else dtype
    nbytes = loaded_bytes(checkpoint, target, quantize, multiplies_fp8=multiplies_fp8(device))
    stored = f"{target} ({checkpoint.quantization})" if checkpoint.quantization else target
    weights = Weights(checkpoint.folder.name, nbytes, stored if quantize == "none" else quantize)
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


def multiplies_fp8(device: str) -> bool:
    """Tell whether a device has products of 8-bit floats, as transformers decides it: by the first CUDA device."""
    return device not in ("cpu", "mps") and torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)


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
