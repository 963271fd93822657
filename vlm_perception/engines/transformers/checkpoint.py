"""Find a checkpoint and check that it fits, before any of it is read into memory."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from vlm_perception.engines.families import COORDINATE_FRAMES
from vlm_perception.engines.model_card import read_calibration
from vlm_perception.errors import ModelLoadError
from vlm_perception.types import Calibration, CoordinateFrame

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "README.md"]
_HUB_TIMEOUT_S = 5.0
# Weights plus what one frame needs beside them: activations, caches, the library itself.
_WORKING_SHARE = 1.15
_DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "F32": 4, "BF16": 2, "F16": 2}
_GIB = 2**30
_MEMINFO = Path("/proc/meminfo")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this disk.

    Attributes:
        folder: Where its files are.
        origin: For people: a local folder, the hub's cache or a fresh download.
        coordinates: Frame its boxes are written in.
        weight_bytes: Size of the weights as stored.
        stored_dtype: Number format they are stored in, such as `bfloat16`.
        calibration: Of its scores, from its card; None when that states none.
    """

    folder: Path
    origin: str
    coordinates: CoordinateFrame
    weight_bytes: int
    stored_dtype: str
    calibration: Calibration | None = None


def find_checkpoint(model: str) -> Checkpoint:
    """Find a checkpoint: a local folder, then the hub's cache, then the hub itself.

    Args:
        model: Folder, or hub id such as `Qwen/Qwen2.5-VL-3B-Instruct`.

    Returns:
        A complete checkpoint of a known family, on this disk.

    Raises:
        ModelLoadError: There is none; the message says where it looked and what to do.
    """
    folder = Path(model).expanduser()
    if folder.exists():
        _log.info("model %s is a local folder: loading it offline", folder)
        return _inspect(folder.resolve(), "local folder, offline")
    if not _HUB_ID.fullmatch(model) or model.startswith("models/"):
        raise ModelLoadError(f"model folder {folder} does not exist (looked from {Path.cwd()}); {_remedy()}")
    try:
        cached = Path(huggingface_hub.snapshot_download(model, local_files_only=True))
        found = _inspect(cached, "hub cache, offline")
    except (LocalEntryNotFoundError, ModelLoadError):
        return _download(model)
    _log.info("model %s is in the hub cache at %s: loading it offline", model, cached)
    return found


def find_tiny_model() -> Path | None:
    """Return the folder of the tiny checkpoint that ships with the product, if it is installed."""
    for parent in Path(__file__).resolve().parents:
        for place in ("models/tiny", "share/vlm_perception/models/tiny"):
            if (parent / place / "config.json").is_file():
                return parent / place
    return None


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
            f"{free / _GIB:.1f} GiB free; free memory, choose a smaller model or dtype bfloat16; {_remedy()}"
        )


def check_device(device: str) -> None:
    """Refuse a device that torch cannot see.

    Raises:
        ModelLoadError: Names the device and the remedy.
    """
    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ModelLoadError(
            f"device {device} was asked for, torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            f"devices; set device to auto or cpu, or install the CUDA driver and a CUDA build of torch"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ModelLoadError("device mps was asked for and is not available here; set device to auto or cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of torch or Python means that memory ran out."""
    # Libraries below torch report a device without room for their workspaces in their own words.
    signs = ("can't allocate memory", "not enough memory", "out of memory", "status_alloc_failed")
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(sign in str(error).lower() for sign in signs)


def _remedy() -> str:
    tiny = find_tiny_model()
    shipped = f" or to the shipped tiny model {tiny}" if tiny else ""
    return f"set model to a folder that holds a Qwen2.5-VL checkpoint{shipped}, or to a hub id while online"


def _download(model: str) -> Checkpoint:
    try:
        # A short look first: without a network the download itself would retry for minutes.
        huggingface_hub.HfApi().model_info(model, timeout=_HUB_TIMEOUT_S)
        _log.info("downloading %s from the hub", model)
        folder = Path(huggingface_hub.snapshot_download(model, allow_patterns=_HUB_FILES))
    except GatedRepoError as error:
        raise ModelLoadError(f"hub model {model} is gated: log in with `hf auth login`; {_remedy()}") from error
    except RepositoryNotFoundError as error:
        raise ModelLoadError(f"there is no hub model {model}; check its spelling; {_remedy()}") from error
    except Exception as error:
        # The hub client's transport errors share no base class over its releases.
        raise ModelLoadError(
            f"model {model} is not in the local hub cache and the hub cannot be reached "
            f"({type(error).__name__}: {_first_line(error)}); {_remedy()}"
        ) from error
    return _inspect(folder, "downloaded from the hub")


def _inspect(folder: Path, origin: str) -> Checkpoint:
    """Check that a folder is complete and of a known family."""
    config = _read_json(folder / "config.json")
    family = str(config.get("model_type"))
    if family not in COORDINATE_FRAMES:
        known = ", ".join(COORDINATE_FRAMES)
        raise ModelLoadError(f"{folder} holds a {family} model, known are: {known}; {_remedy()}")
    for name in ("tokenizer.json", "preprocessor_config.json|processor_config.json"):
        if not any((folder / choice).is_file() for choice in name.split("|")):
            raise ModelLoadError(f"{folder} has no {name.replace('|', ' or ')}: copy the whole checkpoint; {_remedy()}")
    text_config = config.get("text_config") or {}
    stored = next((c[k] for c in (config, text_config) for k in ("dtype", "torch_dtype") if c.get(k)), "float32")
    weight_bytes = sum(path.stat().st_size for path in _weight_files(folder))
    return Checkpoint(folder, origin, COORDINATE_FRAMES[family], weight_bytes, str(stored), read_calibration(folder))


def _weight_files(folder: Path) -> Sequence[Path]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values())) or names
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelLoadError(
            f"{folder} lacks the weights {', '.join(missing)}: only safetensors are read, never pickles; "
            f"copy the whole checkpoint; {_remedy()}"
        )
    return [folder / name for name in names]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read ({_first_line(error)}); {_remedy()}") from error
    return loaded if isinstance(loaded, dict) else {}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _free_bytes(device: str) -> tuple[int, str]:
    """Return the free memory of where the weights will lie; `auto` may spread over GPUs and the host."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return torch.cuda.mem_get_info(int(index or 0))[0], f"GPU {index or 0}"
    free = _host_free_bytes()
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        # A container may hold less than the machine.
        free = min(free, max(0, int(text) - int(used.read_text())))
    if kind == "auto":
        free += sum(torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count()))
    return free, "this machine" if kind == "auto" else "the host"


def _host_free_bytes() -> int:
    for line in _MEMINFO.read_text(encoding="ascii").splitlines() if _MEMINFO.is_file() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    # Not Linux: nothing to compare with, so loading itself has to find out.
    return sys.maxsize
