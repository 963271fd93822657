"""Find a checkpoint and see that it is whole, before any of it is read into memory."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from vlm_perception.engines.families import FAMILIES, Family
from vlm_perception.engines.model_card import read_calibration, read_limits
from vlm_perception.engines.transformers.quantization import Quantization, read_quantization
from vlm_perception.engines.transformers.weight_bytes import StoredTensor, read_tensors
from vlm_perception.errors import ModelLoadError
from vlm_perception.startup.arguments import TINY_MODEL, StartupError, resolve_model
from vlm_perception.types import Calibration

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "README.md"]
_HUB_TIMEOUT_S = 4.0
# A name that nobody resolves, several addresses that are silent one after the other, or a server that only holds the
# line take longer than any time-out of one request.
_HUB_PATIENCE_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this disk.

    Attributes:
        folder: Where its files are.
        origin: For people: a local folder, the hub's cache or a fresh download.
        family: What it is one of.
        weight_bytes: Size of the weights as stored.
        stored_dtype: Number format they are stored in, such as `bfloat16`.
        calibration: Of its scores, from its card; None when that states none.
        knows: What alone it was trained for, from its card; empty when that states no limit.
        quantization: How its weights are stored, if as anything else than plain numbers.
        tensors: What its files say of its weights; empty when one of them is damaged.
    """

    folder: Path
    origin: str
    family: Family
    weight_bytes: int
    stored_dtype: str
    calibration: Calibration | None = None
    knows: str = ""
    quantization: Quantization | None = None
    tensors: tuple[StoredTensor, ...] = field(default=(), repr=False)


def find_checkpoint(model: str, *, may_download: bool = True) -> Checkpoint:
    """Find a checkpoint: a local folder, then the hub's cache, then the hub itself.

    Args:
        model: Folder, hub id such as `Qwen/Qwen2.5-VL-3B-Instruct`, or "tiny" for the shipped one.
        may_download: Whether the hub may be asked for what is not on this disk.

    Returns:
        A complete checkpoint of a known family, on this disk.

    Raises:
        ModelLoadError: There is none; the message says where it looked and what to do.
    """
    try:
        model = resolve_model(model)
    except StartupError as error:
        raise ModelLoadError(str(error)) from error
    folder = Path(model).expanduser()
    if folder.exists():
        _log.info("model %s is a local folder: loading it offline", folder)
        return _inspect(folder.resolve(), "local folder, offline")
    if not _HUB_ID.fullmatch(model) or model.startswith("models/"):
        raise ModelLoadError(f"model folder {folder} does not exist (looked from {Path.cwd()}); {remedy()}")
    try:
        cached = Path(huggingface_hub.snapshot_download(model, local_files_only=True))
        found = _inspect(cached, "hub cache, offline")
    except (LocalEntryNotFoundError, ModelLoadError) as error:
        if not may_download:
            cache = huggingface_hub.constants.HF_HUB_CACHE
            reason = f" ({error})" if isinstance(error, ModelLoadError) else ""
            raise ModelLoadError(f"it is not whole in the hub's cache {cache}{reason}") from error
        return _download(model)
    _log.info("model %s is in the hub cache at %s: loading it offline", model, cached)
    return found


def remedy() -> str:
    """Say what to set `model` to."""
    shipped = ""
    with suppress(StartupError):
        shipped = f" or to the shipped tiny model {resolve_model(TINY_MODEL)}"
    families = " or ".join(family.name for family in FAMILIES.values())
    return f"set model to a folder that holds a {families} checkpoint{shipped}, or to a hub id while online"


def _download(model: str) -> Checkpoint:
    try:
        # A short look first: without a network the download itself would retry for minutes.
        _within(_HUB_PATIENCE_S, lambda: huggingface_hub.HfApi().model_info(model, timeout=_HUB_TIMEOUT_S))
        _log.info("downloading %s from the hub", model)
        folder = Path(huggingface_hub.snapshot_download(model, allow_patterns=_HUB_FILES))
    except GatedRepoError as error:
        raise ModelLoadError(f"hub model {model} is gated: log in with `hf auth login`; {remedy()}") from error
    except RepositoryNotFoundError as error:
        raise ModelLoadError(f"there is no hub model {model}; check its spelling; {remedy()}") from error
    except Exception as error:
        # The hub client's transport errors share no base class over its releases.
        raise ModelLoadError(
            f"model {model} is not in the local hub cache and the hub cannot be reached "
            f"({type(error).__name__}: {_first_line(error)}); {remedy()}"
        ) from error
    return _inspect(folder, "downloaded from the hub")


def _within(timeout_s: float, ask: Callable[[], object]) -> None:
    """Wait so long for an answer, and leave alone a request that does not come back."""
    done: Future[object] = Future()

    def run() -> None:
        try:
            done.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            done.set_exception(error)

    # No pool: Python would wait at its end for a thread that hangs.
    Thread(target=run, name="hub", daemon=True).start()
    try:
        done.result(timeout_s)
    except FutureTimeoutError as error:
        if not done.done():
            raise TimeoutError(f"no answer within {timeout_s:.0f} s") from error
        raise


def _inspect(folder: Path, origin: str) -> Checkpoint:
    """Check that a folder is complete and of a known family."""
    config = _read_json(folder / "config.json")
    model_type = str(config.get("model_type"))
    if model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ModelLoadError(f"{folder} holds a {model_type} model, known are: {known}; {remedy()}")
    for name in ("tokenizer.json", "preprocessor_config.json|processor_config.json"):
        if not any((folder / choice).is_file() for choice in name.split("|")):
            raise ModelLoadError(f"{folder} has no {name.replace('|', ' or ')}: copy the whole checkpoint; {remedy()}")
    text_config = config.get("text_config") or {}
    stored = next((c[k] for c in (config, text_config) for k in ("dtype", "torch_dtype") if c.get(k)), "float32")
    files = _weight_files(folder)
    tensors = [read_tensors(path) for path in files]
    return Checkpoint(
        folder=folder,
        origin=origin,
        family=FAMILIES[model_type],
        weight_bytes=sum(path.stat().st_size for path in files),
        stored_dtype=str(stored),
        calibration=read_calibration(folder),
        knows=read_limits(folder),
        quantization=read_quantization(config),
        tensors=tuple(chain.from_iterable(tensors)) if all(tensors) else (),
    )


def _weight_files(folder: Path) -> Sequence[Path]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values())) or names
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelLoadError(
            f"{folder} lacks the weights {', '.join(missing)}: only safetensors are read, never pickles; "
            f"copy the whole checkpoint; {remedy()}"
        )
    return [folder / name for name in names]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read ({_first_line(error)}); {remedy()}") from error
    return loaded if isinstance(loaded, dict) else {}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
