"""Weights of fewer bits on the shipped checkpoint: made so while it is loaded, or stored so by the field's tools."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import pytest
import quantized_checkpoints
import torch
from checkout import TINY
from tiny_facts import PARAMETERS
from transformers import CompressedTensorsConfig

from benchmarks.lossless import requests
from vlm_perception.engines.base import ignore_text, never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.checkpoint import find_checkpoint
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.generator import Generator
from vlm_perception.engines.transformers.quantization import held_bytes
from vlm_perception.engines.transformers.weight_bytes import loaded_bytes
from vlm_perception.errors import ModelLoadError

NEEDS = {
    "int8": "torchao",
    "int4": "bitsandbytes",
    "bitsandbytes": "bitsandbytes",
    "compressed_tensors": "compressed_tensors",
    "awq": "gptqmodel",
    "gptq": "gptqmodel",
}
INSTALL = {"torchao": "-r requirements-int8.txt", "gptqmodel": "gptqmodel optimum"}
FULL_BYTES = 4 * PARAMETERS


@dataclass(frozen=True)
class Case:
    folder: Path
    quantize: str
    told: str
    is_smaller: bool


STORED = {
    "compressed_tensors": ("compressed-tensors, 4 bits", False),
    "fp8": ("fp8, 8 bits", False),
    "bitsandbytes": ("bitsandbytes, 4 bits", True),
    "awq": ("awq, 4 bits", True),
    "gptq": ("gptq, 4 bits", True),
}


@pytest.fixture(scope="module", params=["int8", "int4", *STORED])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name: str = request.param
    package = NEEDS.get(name, "torch")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install {INSTALL.get(package, '-r requirements-quantized.txt')}")
    if name not in STORED:
        return Case(TINY, name, name, is_smaller=True)
    if name == "compressed_tensors" and "dequantize" not in signature(CompressedTensorsConfig.__init__).parameters:
        pytest.skip("needs a later transformers")
    told, is_smaller = STORED[name]
    folder = getattr(quantized_checkpoints, name)(tmp_path_factory.mktemp(name))
    return Case(folder, "none", told, is_smaller)


def loaded_model(engine: object) -> torch.nn.Module:
    assert isinstance(engine, TransformersEngine)
    assert engine._generator is not None
    model: torch.nn.Module = engine._generator._loaded.model
    return model


def test_it_answers_drafted_as_undrafted_and_says_what_it_is(case: Case) -> None:
    drafted = open_engine(case.folder, quantize=case.quantize)
    assert isinstance(drafted, TransformersEngine)
    assert drafted._generator is not None
    undrafted = Generator(drafted._generator._loaded, None)
    passes, tokens = 0, 0
    for request in requests(2):
        expected = undrafted.answer(request, never_stop, ignore_text)
        answer = drafted.answer(request, never_stop)
        assert (answer.text, answer.tokens) == (expected.text, expected.tokens)
        passes, tokens = passes + answer.passes, tokens + len(answer.tokens)
        # What these bits cost in boxes, benchmarks.quantized measures.
        assert '"bbox_2d": [' in answer.text
    assert passes < tokens
    facts, model, checkpoint = drafted.describe(), loaded_model(drafted), find_checkpoint(str(case.folder))
    assert facts["quantized"] == case.told
    assert facts["parameters"] == f"{PARAMETERS / 1e6:.1f} M"
    held, estimate = held_bytes(model), loaded_bytes(checkpoint, "float32", case.quantize, multiplies_fp8=False)
    assert estimate == pytest.approx(held, rel=0.03)
    assert (held < 0.65 * FULL_BYTES) is case.is_smaller
    assert float(facts["weights"].split()[0]) * 2**30 == pytest.approx(held, rel=0.1)


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_vision_tower_embeddings_and_head_stay_as_they_are(quantize: str, tiny: TransformersEngine) -> None:
    pytest.importorskip(NEEDS[quantize])
    plain = loaded_model(tiny).state_dict()
    kept = loaded_model(open_engine(TINY, quantize=quantize)).state_dict()
    products = {name for name in plain if ".layers." in name and plain[name].dim() == 2}
    assert products
    for name in plain.keys() - products:
        assert torch.equal(kept[name], plain[name]), name
    assert not any(type(kept[name]) is torch.Tensor and kept[name].dtype == torch.float32 for name in products)


def test_what_is_stored_quantised_is_not_quantised_again(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"stored quantised \(fp8, 8 bits\): set quantize to none"):
        open_engine(quantized_checkpoints.fp8(tmp_path), quantize="int4")
