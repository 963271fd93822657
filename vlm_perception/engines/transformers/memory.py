"""Giving memory back once a model is gone."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch


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
