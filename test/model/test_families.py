"""Untrained models of every family: what the engine writes is what transformers' `generate` writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForImageTextToText
from untrained_families import MAKE, RECURRENT, TEXT, VISION, save

from benchmarks.lossless import judge
from benchmarks.plain import PlainModel
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.drafting.drafter import DraftMemory
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.families import FAMILIES, Family
from vlm_perception.engines.transformers.cuda_graphs import refuse_graph
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.vision_tower import replace_vision_tower
from vlm_perception.errors import ModelLoadError
from vlm_perception.types import PixelBudget, Request, Token


@dataclass(frozen=True)
class Saved:
    family: Family
    folder: Path
    engine: TransformersEngine
    plain: PlainModel


@pytest.fixture(scope="module", params=MAKE)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    family = FAMILIES[request.param]
    if family.recurrent and not hasattr(transformers, "Qwen3_5ForConditionalGeneration"):
        pytest.skip(f"transformers {transformers.__version__} does not know {family.name}")
    folder = save(tmp_path_factory.mktemp(request.param), request.param)
    engine = open_engine(folder)
    yield Saved(family, folder, engine, PlainModel(str(folder)))
    engine.close()


@pytest.mark.parametrize("image_wh", [(640, 480), (320, 90), (64, 300)])
def test_answers_are_those_of_generate(
    saved: Saved, make_request: Callable[..., Request], image_wh: tuple[int, int]
) -> None:
    passes, tokens = 0, 0
    rgb = np.random.default_rng(image_wh[0]).integers(0, 256, (*image_wh[::-1], 3), dtype=np.uint8)
    for _ in range(3):
        request = make_request(rgb.copy(), budget=PixelBudget(64 * 64, 256 * 256), max_new_tokens=40)
        expected, answer = saved.plain.answer(request), saved.engine.answer(request, never_stop)
        verdict = judge(answer, request, saved.plain, expected)
        assert verdict == "same" or verdict.startswith("tie"), verdict
        passes, tokens = passes + answer.passes, tokens + len(answer.tokens)
        assert answer.coordinates == "relative_1000"
        assert all(side % 32 == 0 for side in answer.model_wh)
    if saved.family.stepwise:
        assert passes == tokens
    else:
        assert passes < tokens, "the same answer again is drafted"


def test_drafting_is_off_where_it_could_change_an_answer_and_says_so(saved: Saved) -> None:
    assert saved.plain.model._is_stateful == saved.family.recurrent
    reason = saved.family.stepwise
    assert bool(reason) == (saved.family.recurrent or saved.family.experts)
    assert saved.engine.describe()["drafting"] == (f"off: {reason}" if reason else "on")


def test_drafts_change_no_bit(saved: Saved, make_request: Callable[..., Request]) -> None:
    undrafted = open_engine(saved.folder, drafting=False)
    expected = undrafted.answer(make_request(), never_stop)
    for _ in range(2):
        answer = saved.engine.answer(make_request(), never_stop)
        assert (answer.text, answer.tokens) == (expected.text, expected.tokens)


def test_answers_of_a_batch_are_those_alone(saved: Saved, make_request: Callable[..., Request]) -> None:
    requests = [make_request(max_new_tokens=count) for count in (5, 9)]
    alone = [saved.engine.answer(request, never_stop) for request in requests]
    together = saved.engine.answer_batch(requests, [never_stop] * 2)
    assert [(each.text, each.tokens) for each in together] == [(each.text, each.tokens) for each in alone]


@pytest.mark.parametrize("after", [0, 1, 4])
def test_an_answer_ends_when_it_is_told_to(saved: Saved, make_request: Callable[..., Request], after: int) -> None:
    heard: list[Token] = []
    answer = saved.engine.answer(make_request(), lambda: len(heard) >= after, lambda _, tokens: heard.extend(tokens))
    assert answer.finish_reason == "aborted"
    assert after <= len(answer.tokens) <= after + 3, "a character may have several tokens"
    assert tuple(heard) == answer.tokens


def test_a_graph_of_what_is_written_token_by_token_is_refused() -> None:
    refuse_graph("auto", "it has experts")
    with pytest.raises(ModelLoadError, match=r"it has experts: set decoder to auto or eager"):
        refuse_graph("graph", "it has experts")


def test_drafts_are_bounded_by_0_to_1000(
    saved: Saved, make_request: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds, own = [], DraftMemory.drafter
    monkeypatch.setattr(
        DraftMemory, "drafter", lambda memory, request, wh: (bounds.append(wh), own(memory, request, wh))[1]
    )
    monkeypatch.setattr(DraftMemory, "remember", lambda memory, request, wh, text: bounds.append(wh))
    saved.engine.answer(make_request(), never_stop)
    assert bounds == ([] if saved.family.stepwise else [(1000, 1000)] * 2)


def test_an_image_token_of_another_size_is_refused(saved: Saved, tmp_path: Path) -> None:
    folder = shutil.copytree(saved.folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((folder / "processor_config.json").read_text())
    config["image_processor"]["patch_size"] = 14
    (folder / "processor_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=r"patches of 14 px.*not 32 px; use the processor of a Qwen3"):
        open_engine(folder)


def test_another_attention_than_sdpa_is_refused(saved: Saved) -> None:
    model = AutoModelForImageTextToText.from_pretrained(saved.folder)
    with pytest.raises(ModelLoadError, match=r"flash_attention_2 .*Qwen2\.5-VL alone.*set vision_attention to auto"):
        replace_vision_tower(model, lambda *_: torch.zeros(0))
    own = model.model.visual
    replace_vision_tower(model)
    assert model.model.visual is own


@pytest.mark.parametrize("family", MAKE)
def test_weights_are_made_smaller_or_that_is_refused(
    family: str, tmp_path: Path, make_request: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    if FAMILIES[family].recurrent and not hasattr(transformers, "Qwen3_5ForConditionalGeneration"):
        pytest.skip(f"transformers {transformers.__version__} does not know {family}")
    # bitsandbytes packs 64 inputs of a product at a time; those of real models are multiples of that.
    for sizes in (TEXT, RECURRENT, VISION):
        wider = {"hidden_size": 64, "intermediate_size": 128, "linear_value_head_dim": 16, "out_hidden_size": 64}
        for name in sizes.keys() & wider.keys():
            monkeypatch.setitem(sizes, name, wider[name])
    folder = save(tmp_path, family)
    if FAMILIES[family].experts:
        with pytest.raises(ModelLoadError, match=r"quantize int4 .*are experts.*set quantize to none"):
            open_engine(folder, quantize="int4")
        return
    engine, undrafted = (open_engine(folder, quantize="int4", drafting=drafting) for drafting in (True, False))
    assert engine.describe()["quantized"] == "int4"
    expected = undrafted.answer(make_request(), never_stop)
    assert expected.tokens
    for _ in range(2):
        answer = engine.answer(make_request(), never_stop)
        assert (answer.text, answer.tokens) == (expected.text, expected.tokens)
