"""The engine on an untrained tiny checkpoint: everything but the quality of its answers."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from told import Told
from transformers import GenerationConfig

from benchmarks.plain import PlainModel, first_difference
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import make_engine, open_engine
from vlm_perception.engines.families import plan_resize
from vlm_perception.engines.transformers import checkpoint, loading
from vlm_perception.engines.transformers.checkpoint import Checkpoint, find_checkpoint
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.loading import LoadedModel, load_checkpoint
from vlm_perception.errors import GeometryError, InferenceError
from vlm_perception.settings import Settings
from vlm_perception.types import PixelBudget, Request

RequestMaker = Callable[..., Request]


def test_answer_is_that_of_plain_generate(
    random_engine: TransformersEngine, random_checkpoint: Path, make_request: RequestMaker
) -> None:
    request = make_request(max_new_tokens=16)
    answer = random_engine.answer(request, never_stop)
    expected = PlainModel(str(random_checkpoint)).answer(request, logits=True)
    assert (answer.model_wh, answer.coordinates) == ((224, 168), "absolute")
    assert first_difference(answer.text, answer.tokens, expected) is None
    assert [t.logprob for t in answer.tokens] == pytest.approx([t.logprob for t in expected.tokens], abs=1e-4)


def test_answers_repeat(random_engine: TransformersEngine, make_request: RequestMaker) -> None:
    first = random_engine.answer(make_request(), never_stop)
    # A longer limit is another question, so it is asked anew, this time with a draft.
    second = random_engine.answer(make_request(max_new_tokens=25), never_stop)
    assert second.text[: len(first.text)] == first.text
    # A pass over more tokens adds in another order.
    begun = [token.logprob for token in second.tokens[: len(first.tokens)]]
    assert begun == pytest.approx([token.logprob for token in first.tokens], abs=1e-4)


def test_the_image_matters(random_engine: TransformersEngine, make_request: RequestMaker) -> None:
    dark = random_engine.answer(make_request(np.zeros((480, 640, 3), np.uint8)), never_stop)
    noise = random_engine.answer(make_request(), never_stop)
    assert [token.logprob for token in dark.tokens] != [token.logprob for token in noise.tokens]


def test_length_limit(random_engine: TransformersEngine, make_request: RequestMaker) -> None:
    answer = random_engine.answer(make_request(max_new_tokens=5), never_stop)
    assert (len(answer.tokens), answer.finish_reason) == (5, "length")
    assert answer.timings.generate_s > 0


@pytest.mark.parametrize("passes", [1, 2, 7])
def test_abort_takes_effect_within_one_pass(
    random_engine: TransformersEngine, make_request: RequestMaker, passes: int
) -> None:
    first_pass = Told()
    random_engine.forget()
    random_engine.answer(make_request(max_new_tokens=1), first_pass.should_stop)
    random_engine.forget()
    # After the first pass it is asked once a pass: it turns true during pass number `passes`.
    asked = first_pass.asked + passes - 2
    told = Told(stop_asked=asked)
    answer = random_engine.answer(make_request(max_new_tokens=500), told.should_stop)
    assert answer.finish_reason == "aborted"
    assert len(answer.tokens) == passes
    assert told.asked == asked + 1


def test_abort_in_the_first_pass_takes_effect_within_one_layer(
    random_engine: TransformersEngine, make_request: RequestMaker
) -> None:
    # The tiny model has 4 vision blocks and 6 layers; the layers also read what stands before the image.
    for layer in range(16):
        random_engine.forget()
        told = Told(stop_asked=layer)
        answer = random_engine.answer(make_request(), told.should_stop)
        assert (answer.text, answer.tokens, answer.finish_reason) == ("", (), "aborted")
        assert answer.model_wh == (224, 168)
        assert told.asked == layer + 1
    assert random_engine.answer(make_request(), never_stop).finish_reason == "length"


@pytest.mark.parametrize(
    ("image_wh", "budget"),
    [
        ((640, 480), PixelBudget(224 * 224, 1024 * 1024)),  # as it is
        ((1920, 1080), PixelBudget(224 * 224, 100_000)),  # shrunk
        ((60, 40), PixelBudget(224 * 224, 1024 * 1024)),  # enlarged
        ((2000, 12), PixelBudget(3136, 20_000)),  # thin: where a second resize would change it again
    ],
)
def test_processed_size_follows_the_budget(
    wide_engine: TransformersEngine,
    make_request: RequestMaker,
    image_wh: tuple[int, int],
    budget: PixelBudget,
) -> None:
    rgb = np.zeros((image_wh[1], image_wh[0], 3), np.uint8)
    answer = wide_engine.answer(make_request(rgb, budget=budget, max_new_tokens=1), never_stop)
    assert answer.model_wh == plan_resize(image_wh, budget, cell_px=28)


def test_a_checkpoint_keeps_its_own_smaller_maximum(
    random_engine: TransformersEngine, make_request: RequestMaker
) -> None:
    rgb = np.zeros((1080, 1920, 3), np.uint8)
    width, height = random_engine.answer(make_request(rgb, max_new_tokens=1), never_stop).model_wh
    assert width * height <= 196 * 196


def test_sampling_settings_of_a_checkpoint_are_not_used(
    random_checkpoint: Path, random_engine: TransformersEngine, make_request: RequestMaker, tmp_path: Path
) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(random_checkpoint, folder)
    own = GenerationConfig.from_pretrained(folder)
    own.update(do_sample=True, repetition_penalty=1.9, temperature=9.0, top_p=0.9, top_k=5)
    own.save_pretrained(folder)
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    library_log = logging.getLogger("transformers")
    library_log.addHandler(handler)
    try:
        engine = open_engine(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = engine.answer(make_request(), never_stop)
    finally:
        library_log.removeHandler(handler)
    assert answer.text == random_engine.answer(make_request(), never_stop).text
    assert [text for text in heard if "generation" in text.lower()] == []


def test_facts(random_checkpoint: Path, random_engine: TransformersEngine) -> None:
    facts = random_engine.describe()
    assert facts["dtype"] == "float32"
    assert facts["parameters"].endswith(" M")
    assert facts["source"] == f"{random_checkpoint} (local folder, offline)"
    assert random_engine.name == str(random_checkpoint)


def test_dtype_device_and_reload(random_checkpoint: Path, make_request: RequestMaker) -> None:
    asked = {"model": str(random_checkpoint), "device": "cpu"}
    engine = make_engine(lambda: Settings.from_mapping(asked))
    engine.close()
    for dtype in ("bfloat16", "float32"):
        # Parameters may change while the engine is closed.
        asked["dtype"] = dtype
        facts = {"device": "cpu", "dtype": dtype, "parameters": "not loaded", "source": asked["model"]}
        assert engine.describe() == facts
        for ask in (lambda: engine.answer(make_request(), never_stop), lambda: engine.blank_answer(make_request())):
            with pytest.raises(InferenceError, match=r"is not loaded: call load"):
                ask()
        for _ in range(2):
            engine.load()
        assert (engine.describe()["dtype"], engine.describe()["device"]) == (dtype, "cpu")
        assert len(engine.answer(make_request(max_new_tokens=3), never_stop).tokens) == 3
        engine.close()


def test_how_far_loading_is_can_be_asked_meanwhile(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_mapping({"model": str(random_checkpoint)})
    engine = make_engine(lambda: settings)
    heard: list[str] = []

    def find(model: str) -> Checkpoint:
        heard.append(engine.describe()["loading"])
        return find_checkpoint(model)

    def load(*asked: object, **options: str) -> LoadedModel:
        heard.append(engine.describe()["loading"])
        found, device, dtype, tell = asked
        return load_checkpoint(found, device, dtype, lambda stage: (tell(stage), heard.append(stage)), **options)

    monkeypatch.setattr(checkpoint, "find_checkpoint", find)
    monkeypatch.setattr(loading, "load_checkpoint", load)
    engine.load()
    assert heard[:2] == [f"finding {random_checkpoint}, which may mean to download it", "importing the libraries"]
    assert heard[-1].startswith("weights: ")
    assert "loading" not in engine.describe()


def test_a_frame_no_model_can_take_is_refused_and_the_next_one_answered(
    random_engine: TransformersEngine, make_request: RequestMaker
) -> None:
    with pytest.raises(GeometryError, match="aspect ratio"):
        random_engine.answer(make_request(np.zeros((1, 300, 3), np.uint8)), never_stop)
    assert random_engine.answer(make_request(max_new_tokens=2), never_stop).tokens
