"""Whether a device that was asked for can be there at all, told without torch, whose import takes many seconds."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import metadata
from pathlib import Path

from vlm_perception.errors import ModelLoadError

_REMEDY = "set device to auto or cpu, or install the CUDA driver and a CUDA build of torch"
# Drivers of NVIDIA and of AMD, whose torch calls its devices cuda, too; WSL has no files in /dev for single GPUs.
_DRIVERS = ("libcuda.so.1", "libamdhip64.so")
_AMD_DEVICE = Path("/dev/kfd")


def refuse_absent_device(device: str) -> None:
    """Refuse a device that is certainly not there; torch has the last word on any other.

    Args:
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        ModelLoadError: Names the device and the remedy.
    """
    kind, _, index = device.partition(":")
    if kind == "mps" and sys.platform != "darwin":
        raise ModelLoadError("device mps was asked for and is not available here; set device to auto or cpu")
    if kind != "cuda" or sys.platform != "linux":
        return
    if _torch_version().endswith("+cpu"):
        raise ModelLoadError(f"device {device} was asked for, torch {_torch_version()} is built for CPUs; {_REMEDY}")
    count = _visible_gpus()
    if count is not None and int(index or 0) >= count:
        raise ModelLoadError(f"device {device} was asked for, this machine shows {count} CUDA devices; {_REMEDY}")


def _visible_gpus() -> int | None:
    """At most how many GPUs torch can see; None when that cannot be told."""
    if not _AMD_DEVICE.exists() and not any(map(_loads, _DRIVERS)):
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*"))) or None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _torch_version() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""
