"""How much memory weights take once they are loaded, told by what their files say of each tensor."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from vlm_perception.engines.transformers.checkpoint import Checkpoint

# Bytes of a number by its name in settings, configs and safetensors.
DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "F64": 8, "F32": 4, "BF16": 2, "F16": 2}
_ITEM_BYTES = defaultdict(lambda: 1, {"I64": 8, "I32": 4, "I16": 2})
# By Settings' `quantize`: of int4, half a byte, and a float32 for each 64.
_QUANTIZED_BYTES = {"int8": 1.0, "int4": 0.5 + 4 / 64}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """What a file of weights says of one of them.

    Attributes:
        name: As stored.
        dtype: In safetensors' words, such as "BF16".
        shape: As stored.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


def read_tensors(path: Path) -> tuple[StoredTensor, ...]:
    """Read what a file of weights holds; nothing of one that is damaged, which loading will tell in full."""
    try:
        with safe_open(path, framework="numpy") as weights:
            slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118 - no dictionary
            return tuple(StoredTensor(name, each.get_dtype(), tuple(each.get_shape())) for name, each in slices.items())
    except (SafetensorError, OSError):
        return ()


def loaded_bytes(checkpoint: Checkpoint, dtype: str, quantize: str, *, multiplies_fp8: bool) -> int:
    """Return what a checkpoint's weights will take.

    Args:
        checkpoint: What is to be loaded.
        dtype: Number format of what is not quantised, such as "bfloat16".
        quantize: Settings' `quantize`.
        multiplies_fp8: Whether the device has products of 8-bit floats; elsewhere transformers widens them.
    """
    width = DTYPE_BYTES.get(dtype, 2)
    quantization = checkpoint.quantization
    if not checkpoint.tensors:
        growth = 1.0 if quantization else width / DTYPE_BYTES.get(checkpoint.stored_dtype, 2)
        return int(checkpoint.weight_bytes * growth)
    method, bits = (quantization.method, quantization.bits) if quantization else ("", 0)

    def of(tensor: StoredTensor) -> float:
        if tensor.dtype in DTYPE_BYTES:
            return tensor.count * (_QUANTIZED_BYTES[quantize] if quantize != "none" and _is_product(tensor) else width)
        # transformers unpacks these at the first pass, when there is no product of 8-bit floats.
        if method == "compressed-tensors" and tensor.name.endswith("weight_packed"):
            return tensor.count * _ITEM_BYTES[tensor.dtype] * 8 / (bits or 4) * width
        widens = method == "compressed-tensors" or (method == "fp8" and not multiplies_fp8)
        return tensor.count * (width if widens and tensor.name.endswith("weight") else _ITEM_BYTES[tensor.dtype])

    return int(sum(map(of, checkpoint.tensors)))


def _is_product(tensor: StoredTensor) -> bool:
    """Whether it is the weight of a product in the decoder's layers: what `quantize` makes smaller."""
    inside = ".layers." in tensor.name and "visual." not in tensor.name
    return inside and len(tensor.shape) == 2 and tensor.name.endswith(".weight")
