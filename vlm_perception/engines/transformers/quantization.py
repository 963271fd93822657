"""Weights of fewer bits: checkpoints that are stored so, and weights that are made so while they are read.

What is made so are the decoder's products; vision tower, embeddings and head stay as they are stored. Only weights are
made smaller, never what goes through them, so that a token is still computed alike in whichever pass it is read.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from vlm_perception.errors import ModelLoadError

if TYPE_CHECKING:
    from vlm_perception.engines.transformers.checkpoint import Checkpoint

# By the `quant_method` of a checkpoint's config.json: what transformers needs to read it.
PACKAGES = {
    "awq": ("gptqmodel",),
    "gptq": ("gptqmodel", "optimum"),
    "bitsandbytes": ("bitsandbytes",),
    "compressed-tensors": ("compressed-tensors",),
    "torchao": ("torchao",),
    "quanto": ("optimum-quanto",),
    "hqq": ("hqq",),
    "auto-round": ("auto-round",),
}
# By Settings' `quantize`. Not bitsandbytes' int8: it rounds what goes through a product, too, by what else is in the
# pass. Not torchao's int4: it needs kernels that are installed from elsewhere.
LIBRARIES = {"int8": "torchao", "int4": "bitsandbytes"}
# The last two are gates of Qwen3.5, small, with fewer outputs than bitsandbytes packs at a time on a CPU.
KEPT = ["model.visual", "lm_head", "in_proj_a", "in_proj_b"]
# Where a quantization_config names the parts that are plain numbers.
_LEFT_OUT = frozenset({"modules_to_not_convert", "llm_int8_skip_modules"})


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a checkpoint's weights are stored.

    Attributes:
        method: As its config.json names it, such as "awq".
        bits: Of one weight; 0 when the config does not say.
    """

    method: str
    bits: int = 0

    def __str__(self) -> str:
        """For people, such as "awq, 4 bits"."""
        return f"{self.method}, {self.bits} bits" if self.bits else self.method


def read_quantization(config: Mapping[str, Any]) -> Quantization | None:
    """Read how weights are stored from what config.json holds; None when they are plain numbers."""
    text = config.get("text_config") or {}
    places = [(part, key) for part in (config, text) for key in ("quantization_config", "compression_config")]
    stated = next((part[key] for part, key in places if isinstance(part.get(key), dict)), None)
    if stated is None:
        return None
    method = str(stated.get("quant_method") or "compressed-tensors")
    return Quantization(method, _bits(method, stated))


def require_packages(quantization: Quantization | None, quantize: str, *, multiplies_fp8: bool = False) -> None:
    """Refuse weights whose packages are not installed.

    Args:
        quantization: How the checkpoint stores them.
        quantize: Settings' `quantize`.
        multiplies_fp8: Whether the device has products of 8-bit floats; elsewhere transformers widens such weights,
            for which it needs nothing.

    Raises:
        ModelLoadError: Names the packages and how to get them.
    """
    if quantization is not None:
        kernels = ("kernels",) if quantization.method == "fp8" and multiplies_fp8 else ()
        packages = PACKAGES.get(quantization.method, kernels)
        _require(f"the checkpoint's weights are {quantization}", packages)
    if quantize in LIBRARIES:
        _require(f"quantize {quantize}", (LIBRARIES[quantize],))


def refuse_quantize(checkpoint: Checkpoint, quantize: str, device: str) -> None:
    """Refuse to make weights smaller where that cannot be done.

    Args:
        checkpoint: Whose weights.
        quantize: Settings' `quantize`.
        device: One that they will lie on, such as "cuda:0".

    Raises:
        ModelLoadError: Names what is in the way, and what to do.
    """
    if quantize == "none":
        return
    if checkpoint.quantization is not None:
        raise ModelLoadError(
            f"quantize {quantize} was asked for, {checkpoint.folder} is stored quantised ({checkpoint.quantization}): "
            f"set quantize to none, or model to the checkpoint that it was made from"
        )
    if checkpoint.family.experts:
        raise ModelLoadError(
            f"quantize {quantize} was asked for, nearly all of a {checkpoint.family.name} model are experts, which "
            f"{LIBRARIES[quantize]} leaves as they are: set quantize to none, or model to one that is stored quantised"
        )
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise ModelLoadError(
            f"quantize {quantize} was asked for, {LIBRARIES[quantize]} is used on cuda and cpu, the model would lie on "
            f"{device}: set device to cpu, or quantize to none"
        )


def quantizing_options(checkpoint: Checkpoint, quantize: str, dtype: str) -> dict[str, Any]:
    """Say to transformers' `from_pretrained` what to do with weights while it reads them.

    Args:
        checkpoint: Whose weights.
        quantize: Settings' `quantize`.
        dtype: Number format of what goes through the weights, such as "bfloat16".

    Raises:
        ModelLoadError: transformers is too old for them.
    """
    # What needs none of it does not wait for these imports.
    import torch
    from transformers import AutoConfig, BitsAndBytesConfig, CompressedTensorsConfig, TorchAoConfig

    config: Any
    if checkpoint.quantization:
        unpacks = checkpoint.quantization.method == "compressed-tensors"
        if unpacks and "dequantize" not in inspect.signature(CompressedTensorsConfig.__init__).parameters:
            raise ModelLoadError(
                f"{checkpoint.folder} is of compressed-tensors, which transformers {metadata.version('transformers')} "
                f"cannot unpack while it reads it: pip install -U transformers"
            )
        config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
        stated = getattr(config, "quantization_config", None) or {}
        if unpacks:
            # Else it widens them at the first call of the whole model, and nobody makes one here.
            stated["dequantize"] = True
        for key in _LEFT_OUT.intersection(stated):
            stated[key] = _with_names_of_today(stated[key] or ())
        return {"config": config}
    if quantize == "none":
        return {}
    if quantize == "int4":
        # NF4 ("QLoRA", arXiv 2305.14314): 16 values that lie as densely as weights do, a factor for each 64.
        config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=getattr(torch, dtype),
            llm_int8_skip_modules=KEPT,
        )
    else:
        rows = importlib.import_module("torchao.quantization").Int8WeightOnlyConfig()
        config = TorchAoConfig(rows, modules_to_not_convert=KEPT)
    return {"quantization_config": config}


def _with_names_of_today(modules: Iterable[str]) -> list[str]:
    """Name the parts that a checkpoint leaves out as transformers 5 does, too; it translates weights' names alone."""
    renamed = {"visual": "model.visual", "model.layers": "model.language_model.layers"}
    today = [new + name.removeprefix(old) for name in modules for old, new in renamed.items() if name.startswith(old)]
    return [*modules, *today]


def count_parameters(model: Any) -> int:
    """Return how many numbers a model's weights stand for, however they are packed."""
    # gptqmodel packs weights into what torch does not count.
    packed = (module for module in model.modules() if hasattr(module, "qweight"))
    return int(model.num_parameters()) + sum(int(each.in_features) * int(each.out_features) for each in packed)


def held_bytes(model: Any) -> int:
    """Return what a model's weights take in memory, bytes, quantised or not."""
    return sum(map(_held_bytes, (*model.parameters(), *model.buffers())))


def _held_bytes(tensor: Any) -> int:
    # torchao's tensors call themselves what they stand for, bitsandbytes' keep their factors beside them.
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(_held_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    factors = getattr(getattr(tensor, "quant_state", None), "absmax", None)
    return int(tensor.nbytes) + (int(factors.nbytes) if factors is not None else 0)


def _bits(method: str, stated: Mapping[str, Any]) -> int:
    if method == "bitsandbytes":
        return 4 if stated.get("load_in_4bit") else 8
    if method == "fp8":
        return 8
    groups = stated.get("config_groups") or {}
    weights = [group.get("weights") or {} for group in groups.values()] if isinstance(groups, dict) else []
    bits = [stated.get("bits"), stated.get("w_bit"), *(each.get("num_bits") for each in weights)]
    return next((each for each in bits if isinstance(each, int)), 0)


def _require(what: str, packages: tuple[str, ...]) -> None:
    missing = [name for name in packages if not _is_installed(name)]
    if missing:
        raise ModelLoadError(
            f"{what}, which needs {' and '.join(missing)}: pip install {' '.join(missing)} (into the environment that "
            f"holds torch), or set model to a checkpoint that is not quantised and quantize to none"
        )


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
