"""A model is ready once it has answered; how its passes are started is known then."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkout import TINY
from safetensors.torch import load_file, save_file

from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.cuda_graphs import choose_graph
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.errors import ModelLoadError


def test_a_first_image_is_answered_before_the_model_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    forward = torch.nn.Embedding.forward

    def counted(self: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
        ran.append(ids.numel())
        return forward(self, ids)

    monkeypatch.setattr(torch.nn.Embedding, "forward", counted)
    engine = open_engine(TINY)
    assert len(ran) >= 3, "the words before the image, the instruction, a token"
    assert isinstance(engine, TransformersEngine)
    assert engine.describe()["decoder"] == "eager"
    assert engine._generator is not None
    assert engine._generator._prefill.kept_frames == 0
    engine.close()


def test_a_model_that_cannot_answer_is_not_ready(tmp_path: Path) -> None:
    for file in TINY.iterdir():
        (tmp_path / file.name).symlink_to(file)
    weights = load_file(TINY / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.0.mlp.down_proj.weight"))
    weights[name][0, 0] = float("nan")
    (tmp_path / "model.safetensors").unlink()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"cannot answer: .*nan.* in float32; set dtype to bfloat16 or float32"):
        open_engine(tmp_path)


def test_a_graph_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ModelLoadError, match=r"decoder graph was asked for, the model is on cpu: .*set device to cuda"):
        open_engine(TINY, decoder="graph")


def model_on(device: str, hooked: bool = False, device_map: dict[str, str] | None = None) -> Any:
    layer = SimpleNamespace(**({"_hf_hook": None} if hooked else {}))
    return SimpleNamespace(device=torch.device(device), modules=lambda: [layer], hf_device_map=device_map or {})


@pytest.mark.parametrize(
    ("decoder", "model", "expected"),
    [
        ("auto", model_on("cpu"), False),
        ("auto", model_on("cuda:1"), True),
        ("graph", model_on("cuda:0"), True),
        ("eager", model_on("cuda:0"), False),
        ("auto", model_on("cuda:0", hooked=True), False),
        ("graph", model_on("cuda:0", hooked=True, device_map={"a": "0", "b": "1"}), r"cuda:0 \(spread over 0, 1\)"),
    ],
)
def test_graphs_are_for_a_whole_model_on_one_cuda_device(decoder: str, model: Any, expected: bool | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(ModelLoadError, match=expected):
            choose_graph(decoder, model)
    else:
        assert choose_graph(decoder, model) is expected
