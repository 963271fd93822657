"""Weights of fewer bits: what a config says of them, which packages they need, what is refused, what they take."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkout import TINY

from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.families import FAMILIES
from vlm_perception.engines.transformers import quantization
from vlm_perception.engines.transformers.checkpoint import Checkpoint, find_checkpoint
from vlm_perception.engines.transformers.quantization import (
    Quantization,
    read_quantization,
    refuse_quantize,
    require_packages,
)
from vlm_perception.engines.transformers.weight_bytes import StoredTensor, loaded_bytes
from vlm_perception.errors import ModelLoadError

GROUP = {"weights": {"num_bits": 4, "type": "int"}, "targets": ["Linear"]}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, None),
        ({"text_config": {"hidden_size": 8}}, None),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq, 4 bits"),
        ({"quantization_config": {"quant_method": "awq", "w_bit": 4}}, "awq, 4 bits"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "gptq, 8 bits"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes, 4 bits"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "bitsandbytes, 8 bits"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "fp8, 8 bits"),
        ({"text_config": {"quantization_config": {"quant_method": "awq", "bits": 4}}}, "awq, 4 bits"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"group_0": GROUP}}},
            "compressed-tensors, 4 bits",
        ),
        ({"compression_config": {"config_groups": {"group_0": GROUP}}}, "compressed-tensors, 4 bits"),
        ({"quantization_config": {"quant_method": "quark"}}, "quark"),
    ],
)
def test_a_config_tells_method_and_bits(config: dict[str, Any], told: str | None) -> None:
    found = read_quantization(config)
    assert (None if found is None else str(found)) == told


@pytest.mark.parametrize(
    ("method", "quantize", "multiplies_fp8", "missing"),
    [
        ("awq", "none", False, "gptqmodel"),
        ("gptq", "none", False, "gptqmodel optimum"),
        ("bitsandbytes", "none", False, "bitsandbytes"),
        ("compressed-tensors", "none", False, "compressed-tensors"),
        ("torchao", "none", False, "torchao"),
        ("fp8", "none", True, "kernels"),
        ("fp8", "none", False, None),
        ("quark", "none", False, None),
        (None, "none", False, None),
        (None, "int8", False, "torchao"),
        (None, "int4", False, "bitsandbytes"),
    ],
)
def test_missing_packages_are_the_remedy(
    method: str | None, quantize: str, multiplies_fp8: bool, missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Quantization(method, 4) if method else None
    monkeypatch.setattr(quantization, "_is_installed", lambda _: False)
    if missing is None:
        require_packages(stored, quantize, multiplies_fp8=multiplies_fp8)
        return
    with pytest.raises(ModelLoadError, match=rf"pip install {missing} \(into the environment that holds torch\)"):
        require_packages(stored, quantize, multiplies_fp8=multiplies_fp8)
    monkeypatch.setattr(quantization, "_is_installed", lambda _: True)
    require_packages(stored, quantize, multiplies_fp8=multiplies_fp8)


@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_a_checkpoint_whose_package_is_missing_is_not_called_damaged(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "checkpoint"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": method, "bits": 4, "group_size": 128}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setattr(quantization, "_is_installed", lambda _: False)
    with pytest.raises(ModelLoadError, match=f"weights are {method}, 4 bits, which needs gptqmodel") as caught:
        open_engine(folder)
    assert "copy the whole checkpoint" not in str(caught.value)


PLAIN = Checkpoint(Path("qwen"), "", FAMILIES["qwen2_5_vl"], 10**9, "bfloat16")


@pytest.mark.parametrize(
    ("checkpoint", "quantize", "device", "words"),
    [
        (PLAIN, "int4", "cpu", None),
        (PLAIN, "int8", "cuda:0", None),
        (PLAIN, "none", "mps", None),
        (replace(PLAIN, quantization=Quantization("awq", 4)), "none", "cuda:0", None),
        (replace(PLAIN, quantization=Quantization("awq", 4)), "int4", "cuda:0", r"qwen is stored quantised \(awq"),
        (replace(PLAIN, family=FAMILIES["qwen3_5_moe"]), "int8", "cpu", "are experts, which torchao leaves"),
        (replace(PLAIN, family=FAMILIES["qwen3_5"]), "int8", "cpu", None),
        (PLAIN, "int4", "mps", "bitsandbytes is used on cuda and cpu, the model would lie on mps"),
    ],
)
def test_what_cannot_be_made_smaller_is_refused(
    checkpoint: Checkpoint, quantize: str, device: str, words: str | None
) -> None:
    if words is None:
        refuse_quantize(checkpoint, quantize, device)
        return
    with pytest.raises(ModelLoadError, match=rf"quantize {quantize} was asked for.*{words}.*quantize to none"):
        refuse_quantize(checkpoint, quantize, device)


LAYER = "model.layers.0.mlp.up_proj"
DENSE = [
    StoredTensor("visual.blocks.0.attn.qkv.weight", "BF16", (64, 64)),
    StoredTensor("model.embed_tokens.weight", "BF16", (100, 64)),
    StoredTensor(f"{LAYER}.weight", "BF16", (128, 64)),
    StoredTensor("model.layers.0.input_layernorm.weight", "BF16", (64,)),
]
KEPT = 64 * 64 + 100 * 64 + 64
PACKED = [*DENSE[:2], DENSE[3], StoredTensor(f"{LAYER}.weight_packed", "I32", (128, 8))]
FP8 = [*DENSE[:2], DENSE[3], StoredTensor(f"{LAYER}.weight", "F8_E4M3", (128, 64))]
AWQ = [*DENSE[:2], DENSE[3], StoredTensor(f"{LAYER}.qweight", "I32", (64, 16))]


@pytest.mark.parametrize(
    ("tensors", "method", "dtype", "quantize", "multiplies_fp8", "expected"),
    [
        (DENSE, "", "bfloat16", "none", False, 2 * (KEPT + 8192)),
        (DENSE, "", "float32", "none", False, 4 * (KEPT + 8192)),
        (DENSE, "", "bfloat16", "int8", False, 2 * KEPT + 8192),
        (DENSE, "", "bfloat16", "int4", False, 2 * KEPT + 8192 * 0.5625),
        (AWQ, "awq", "float16", "none", False, 2 * KEPT + 8192 // 2),
        (PACKED, "compressed-tensors", "bfloat16", "none", True, 2 * (KEPT + 8192)),
        (FP8, "compressed-tensors", "bfloat16", "none", True, 2 * (KEPT + 8192)),
        (FP8, "fp8", "bfloat16", "none", True, 2 * KEPT + 8192),
        (FP8, "fp8", "bfloat16", "none", False, 2 * (KEPT + 8192)),
        ([], "", "float32", "none", False, 2 * 10**9),
        ([], "awq", "float32", "none", False, 10**9),
    ],
)
def test_memory_follows_from_how_weights_are_stored_and_what_is_done_to_them(
    tensors: list[StoredTensor], method: str, dtype: str, quantize: str, multiplies_fp8: bool, expected: float
) -> None:
    stored = Quantization(method, 4) if method else None
    checkpoint = replace(PLAIN, tensors=tuple(tensors), quantization=stored)
    assert loaded_bytes(checkpoint, dtype, quantize, multiplies_fp8=multiplies_fp8) == int(expected)


def test_files_tell_of_every_weight() -> None:
    tiny = find_checkpoint(str(TINY))
    assert sum(tensor.count for tensor in tiny.tensors) * 4 == pytest.approx(tiny.weight_bytes, rel=0.01)
