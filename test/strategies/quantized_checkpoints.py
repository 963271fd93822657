"""The shipped checkpoint with its decoder's weights stored in fewer bits, as the tools of the field store them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from checkout import TINY
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.quantization import quantizing_options

Tensors = dict[str, torch.Tensor]
LEFT_OUT = ["re:.*visual.*", "lm_head"]


def _rewrite(folder: Path, make: Callable[[str, torch.Tensor], Tensors], stated: dict[str, Any]) -> Path:
    """Copy the checkpoint, with other tensors for each weight of a product in the decoder's layers."""
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    stored: Tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        is_product = ".layers." in name and tensor.dim() == 2
        stored |= make(name.removesuffix(".weight"), tensor) if is_product else {name: tensor}
    save_file(
        {name: each.contiguous() for name, each in stored.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": stated}), encoding="utf-8")
    return folder


def compressed_tensors(folder: Path) -> Path:
    """4 bits in groups of 32 along the inputs (W4A16), as llm-compressor writes them."""
    from compressed_tensors.compressors.pack_quantized import pack_to_int32

    def make(name: str, weight: torch.Tensor) -> Tensors:
        groups = weight.unflatten(1, (-1, 32))
        scale = (groups.abs().amax(-1, keepdim=True) / 7).clamp_min(1e-8)
        values = (groups / scale).round().clamp(-8, 7).flatten(1).to(torch.int8)
        return {
            f"{name}.weight_packed": pack_to_int32(values, 4),
            f"{name}.weight_scale": scale[..., 0],
            f"{name}.weight_shape": torch.tensor(weight.shape),
        }

    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}
    stated = {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed"}
    return _rewrite(folder, make, {**stated, "config_groups": {"group_0": group}, "ignore": LEFT_OUT})


def fp8(folder: Path) -> Path:
    """8-bit floats with a factor for each block of 32 x 32, as Qwen publishes its own (theirs are 128 x 128)."""

    def make(name: str, weight: torch.Tensor) -> Tensors:
        rows, columns = (-(-side // 32) for side in weight.shape)
        padded = torch.zeros(rows * 32, columns * 32)
        padded[: weight.shape[0], : weight.shape[1]] = weight
        blocks = padded.view(rows, 32, columns, 32)
        scale = (blocks.abs().amax((1, 3)) / 448).clamp_min(1e-8)
        values = (blocks / scale[:, None, :, None]).reshape(padded.shape)[: weight.shape[0], : weight.shape[1]]
        return {f"{name}.weight": values.to(torch.float8_e4m3fn), f"{name}.weight_scale_inv": scale}

    stated = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
    # The tower's name of before transformers 5, as in checkpoints of that time.
    return _rewrite(folder, make, {**stated, "modules_to_not_convert": ["visual", "lm_head"]})


def bitsandbytes(folder: Path) -> Path:
    """NF4, as transformers saves it."""
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    options = quantizing_options(find_checkpoint(str(TINY)), "int4", "float32")
    model: Any = AutoModelForImageTextToText.from_pretrained(TINY, device_map={"": "cpu"}, **options)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # The tower's name of before transformers 5, as in checkpoints of that time.
    config["quantization_config"]["llm_int8_skip_modules"] = ["visual", "lm_head"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def gptq(folder: Path) -> Path:
    """4 bits in groups of 32, eight values in a number along the inputs, zeros less one, as AutoGPTQ stored them."""

    def make(name: str, weight: torch.Tensor) -> Tensors:
        values, scale = _in_4_bits(weight)
        return {
            f"{name}.qweight": _packed(values, 0),
            f"{name}.qzeros": _packed(torch.full(scale.shape, 7), 1),
            f"{name}.scales": scale.half(),
            f"{name}.g_idx": (torch.arange(weight.shape[1]) // 32).int(),
        }

    layers = {"block_name_to_quantize": "model.language_model.layers", "checkpoint_format": "gptq"}
    stated = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True}
    # Its own choice on a CPU compiles C++ for minutes.
    return _rewrite(folder, make, stated | layers | {"backend": "torch"})


def awq(folder: Path) -> Path:
    """4 bits in groups of 32, eight values in a number along the outputs in AWQ's order, as AutoAWQ stored them."""
    order = (0, 2, 4, 6, 1, 3, 5, 7)

    def make(name: str, weight: torch.Tensor) -> Tensors:
        values, scale = _in_4_bits(weight)
        zeros = _packed(torch.full(scale.shape, 8), 1, order)
        return {f"{name}.qweight": _packed(values, 1, order), f"{name}.qzeros": zeros, f"{name}.scales": scale.half()}

    stated = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
    # The tower's name of before transformers 5, as in checkpoints of that time.
    return _rewrite(folder, make, stated | {"modules_to_not_convert": ["visual", "lm_head"], "backend": "torch_awq"})


def _in_4_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values of 0 to 15, (inputs, outputs), and factors, (groups of 32 inputs, outputs)."""
    groups = weight.unflatten(1, (-1, 32))
    scale = (groups.abs().amax(-1, keepdim=True) / 7).clamp_min(1e-8)
    values = (groups / scale).round().clamp(-8, 7).flatten(1).long() + 8
    return values.T.contiguous(), scale[..., 0].T.contiguous()


def _packed(values: torch.Tensor, dim: int, order: Sequence[int] = range(8)) -> torch.Tensor:
    """Put eight values along `dim` into each 32-bit number, the first into its lowest bits."""
    eights = values.unflatten(dim, (-1, 8))
    whole = sum(eights.select(dim + 1, place) << (4 * index) for index, place in enumerate(order))
    return torch.as_tensor(whole).to(torch.int32)
