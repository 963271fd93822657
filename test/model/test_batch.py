"""Several requests in one batch: each answer is what it is alone."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_facts import LAYERS
from told import Told
from transformers import AutoModelForImageTextToText

import vlm_perception.engines.transformers.prefill as prefill_module
from benchmarks.plain import TIE, PlainModel, first_difference
from vlm_perception.engines.base import ignore_text, never_stop
from vlm_perception.engines.factory import make_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.generator import Generator
from vlm_perception.engines.transformers.prefill import Prefix
from vlm_perception.errors import GeometryError, InferenceError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene
from vlm_perception.settings import Settings
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Request

PROMPTS = ("all objects", "red circle", "count the blue squares", "what is in the image?")
SIZES = ((640, 480), (480, 640), (320, 240), (1280, 360))


def ask(seed: int, text: str | None = None, limit: int = 256, image_wh: tuple[int, int] | None = None) -> Request:
    """A question; size of the frame and prompt follow from the seed."""
    wh = image_wh or SIZES[seed % 4]
    frame = Frame(MovingScene(seed, wh, n_objects=1 + seed % 6).at(0.0).rgb, FrameHeader(1, 0, "c"), "/image", 0.0)
    return Request(frame, build_prompt(text or PROMPTS[seed // 2 % 4]), PixelBudget(224 * 224, 1024 * 1024), limit)


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_answers_are_those_of_plain_generate_one_by_one(tiny: TransformersEngine, plain: PlainModel, rows: int) -> None:
    ties = 0
    requests = [ask(100 * rows + row) for row in range(rows)]
    tiny.forget()
    answers = tiny.answer_batch(requests, [never_stop] * rows)
    assert len({answer.model_wh for answer in answers}) >= min(rows, 3), "rows of different lengths"
    for request, answer in zip(requests, answers, strict=True):
        expected = plain.answer(request, logits=True)
        left_at = first_difference(answer.text, answer.tokens, expected)
        if left_at is not None:
            assert expected.gaps[left_at] < TIE
            ties += 1
            continue
        logprobs = [token.logprob for token in expected.tokens]
        assert [token.logprob for token in answer.tokens] == pytest.approx(logprobs, abs=1e-4)
        assert answer.finish_reason == "stop"
        assert answer.passes <= len(answer.tokens)
        assert answer.timings.prefill_s > 0
    assert ties == 0


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 40)), min_size=1, max_size=6))
def test_any_batch_gives_what_its_rows_give_alone(tiny: TransformersEngine, rows: list[tuple[int, int]]) -> None:
    requests = [ask(seed, limit=limit) for seed, limit in rows]
    tiny.forget()
    together = tiny.answer_batch(requests, [never_stop] * len(rows))
    for request, answer in zip(requests, together, strict=True):
        tiny.forget()
        alone = tiny.answer(request, never_stop)
        assert (answer.text, answer.finish_reason, answer.model_wh) == (alone.text, alone.finish_reason, alone.model_wh)
        assert answer.tokens == alone.tokens, "to the last bit"
        assert len(answer.tokens) <= request.max_new_tokens


def test_every_row_is_told_its_own_text(tiny: TransformersEngine) -> None:
    requests, told = [ask(seed) for seed in range(4)], [Told() for _ in range(4)]
    tiny.forget()
    answers = tiny.answer_batch(requests, [never_stop] * 4, [each.on_text for each in told])
    assert [(each.text, each.tokens) for each in told] == [(answer.text, answer.tokens) for answer in answers]


def test_a_stopped_row_ends_within_a_pass_and_the_others_go_on(tiny: TransformersEngine) -> None:
    requests = [ask(seed, "all objects") for seed in (20, 21, 22)]
    tiny.forget()
    whole = tiny.answer_batch(requests, [never_stop] * 3)
    tiny.forget()
    told = [Told(), Told(stop_after=5), Told()]
    answers = tiny.answer_batch(requests, [each.should_stop for each in told], [each.on_text for each in told])
    assert [answer.finish_reason for answer in answers] == ["stop", "aborted", "stop"]
    assert len(answers[1].tokens) == 5
    assert (answers[0].text, answers[2].text) == (whole[0].text, whole[2].text)


def test_a_row_that_is_stopped_before_its_first_token_has_none(tiny: TransformersEngine) -> None:
    requests = [ask(30), ask(31)]
    tiny.forget()
    answers = tiny.answer_batch(requests, [lambda: True, never_stop])
    assert (answers[0].finish_reason, answers[0].text, answers[0].passes) == ("aborted", "", 0)
    assert answers[1].finish_reason == "stop"
    tiny.forget()
    stopped = tiny.answer_batch(requests, [lambda: True] * 2)
    assert [answer.finish_reason for answer in stopped] == ["aborted"] * 2


def test_each_row_has_its_own_limit(tiny: TransformersEngine) -> None:
    requests = [ask(24, "all objects", limit=limit) for limit in (1, 7, 256)]
    tiny.forget()
    answers = tiny.answer_batch(requests, [never_stop] * 3)
    assert [answer.finish_reason for answer in answers] == ["length", "length", "stop"]
    assert [len(answer.tokens) for answer in answers[:2]] == [1, 7]
    assert answers[2].tokens[:7] == pytest.approx(answers[2].tokens[:7])
    assert answers[2].text.startswith(answers[1].text)


def test_a_loop_in_one_row_ends_that_row(random_engine: TransformersEngine) -> None:
    # The untrained model repeats one byte; the other row's limit ends it before a loop is certain.
    requests = [ask(1, limit=1500), ask(2, limit=20)]
    random_engine.forget()
    answers = random_engine.answer_batch(requests, [never_stop] * 2)
    random_engine.forget()
    assert [answer.finish_reason for answer in answers] == [
        random_engine.answer(request, never_stop).finish_reason for request in requests
    ]
    assert answers[1].finish_reason == "length"


def test_prompts_about_one_frame_share_its_image(tiny: TransformersEngine) -> None:
    request = ask(40, "all objects")
    others = [Request(request.frame, build_prompt(text), request.budget, 256) for text in PROMPTS]
    tiny.forget()
    answers = tiny.answer_batch(others, [never_stop] * len(others))
    for other, answer in zip(others, answers, strict=True):
        tiny.forget()
        assert answer.text == tiny.answer(other, never_stop).text


def test_errors_are_those_of_one_answer(tiny: TransformersEngine) -> None:
    assert tiny.answer_batch([], []) == []
    thin = Frame(np.zeros((1, 300, 3), np.uint8), FrameHeader(0, 0, ""), "/image", 0.0)
    good = ask(1)
    with pytest.raises(GeometryError, match="aspect ratio"):
        tiny.answer_batch([good, Request(thin, good.prompt, good.budget, 8)], [never_stop] * 2)
    with pytest.raises(InferenceError, match="failed on"):
        tiny.answer_batch([good, good], [never_stop])
    unloaded = make_engine(Settings)
    with pytest.raises(InferenceError, match="load"):
        unloaded.answer_batch([good], [never_stop])


def test_a_model_that_accelerate_spreads_answers_batches_too(undrafted: TransformersEngine, tmp_path: Path) -> None:
    """Half the layers lie on a disk, and accelerate brings them in; several GPUs look the same from here."""
    assert undrafted._generator is not None
    loaded = undrafted._generator._loaded
    parts = ("visual", "language_model.embed_tokens", "language_model.norm", "language_model.rotary_emb")
    layers = {
        f"model.language_model.layers.{layer}": "cpu" if layer < LAYERS // 2 else "disk" for layer in range(LAYERS)
    }
    spread: Any = AutoModelForImageTextToText.from_pretrained(
        TINY,
        device_map={**{f"model.{part}": "cpu" for part in parts}, "lm_head": "cpu", **layers},
        offload_folder=tmp_path,
    )
    generator = Generator(replace(loaded, model=spread.eval()), None)
    requests = [ask(seed) for seed in (3, 50, 51)]
    together = generator.answer_batch(requests, [never_stop] * 3, [ignore_text] * 3)
    for request, answer in zip(requests, together, strict=True):
        generator.forget()
        alone = generator.answer(request, never_stop, ignore_text)
        assert (answer.text, answer.tokens) == (alone.text, alone.tokens)
        assert answer.text == undrafted.answer(request, never_stop).text


def test_what_was_read_of_a_prompt_is_let_go_once_its_reply_begins(
    tiny: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder has its own copy: two of each would double what a batch takes."""
    monkeypatch.setattr(prefill_module, "MAX_KEPT_FRAMES", 0)
    tiny.forget()

    def prefixes() -> list[Prefix]:
        return [each for each in gc.get_objects() if type(each) is Prefix]

    others, alive = prefixes(), list[int]()

    def look(*_: object) -> None:
        alive.extend(each.length for each in prefixes() if all(each is not other for other in others))

    tiny.answer_batch([ask(60, limit=2), ask(61, limit=2)], [never_stop] * 2, [look] * 2)
    assert tiny._generator is not None
    before = tiny._generator._preprocessor.tokens("").before
    assert set(alive) == {len(before)}, "the words before the image alone"
