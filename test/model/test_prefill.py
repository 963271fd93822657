"""What is kept between questions: it saves passes and changes no answer."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from checkout import TINY
from tiny_facts import HEAD_WIDTH, KEY_HEADS, LAYERS, SMALLEST_PX, VISION_BLOCKS

import vlm_perception.engines.transformers.prefill as prefill_module
from benchmarks.plain import TIE, PlainModel, first_difference
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.prefill import Prefill, Prefix
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Prompt, Request, Task

RequestMaker = Callable[..., Request]
PROMPTS = (
    "all objects",
    "red circle",
    "count the blue squares",
    "point at the green triangle",
    "what is in the image?",
)
SIZES = ((640, 480), (480, 640), (320, 240), (1280, 360))


def scene_request(seed: int, text: str, image_wh: tuple[int, int] = (640, 480), stamp_sec: int = 1) -> Request:
    rgb = MovingScene(seed, image_wh, n_objects=1 + seed % 6).at(0.0).rgb
    frame = Frame(rgb, FrameHeader(stamp_sec, 0, "camera"), "/image", 0.0)
    return Request(frame, build_prompt(text), PixelBudget(224 * 224, 1024 * 1024), 256)


class Parts:
    """Reads prompts with the model of `PlainModel`, and counts the vision blocks and layers that run."""

    def __init__(self, plain: PlainModel) -> None:
        self.model = plain.model
        self.preprocessor = Preprocessor(plain.processor, plain.model.config.image_token_id)
        self.prefill = Prefill(plain.model)

    def read(self, request: Request) -> Prefix:
        known = request.frame, self.preprocessor.plan_wh(request), self.preprocessor.tokens(request.prompt.instruction)
        with torch.inference_mode():
            return self.prefill.find(*known) or self.prefill.read(*known, self.preprocessor.patches(request))


def test_answers_are_those_of_plain_generate_whatever_is_kept(undrafted: TransformersEngine, plain: PlainModel) -> None:
    asked = ties = 0
    for seed in range(8):
        for text in (PROMPTS[seed % 5], PROMPTS[(seed + 1) % 5]):
            request = scene_request(seed, text, SIZES[seed % 4])
            expected = plain.answer(request, logits=True)
            answer = undrafted.answer(request, never_stop)
            left_at = first_difference(answer.text, answer.tokens, expected)
            asked += 1
            if left_at is not None:
                assert expected.gaps[left_at] < TIE, f"seed {seed}, {text}: token {left_at} of {expected.text}"
                ties += 1
                continue
            logprobs = [token.logprob for token in expected.tokens]
            assert [token.logprob for token in answer.tokens] == pytest.approx(logprobs, abs=1e-4)
    print(f"{asked} answers, {ties} ties of the two highest logits")
    assert ties <= 1


def test_positions_and_states_are_those_of_the_whole_prompt_in_one_pass(plain: PlainModel) -> None:
    parts = Parts(plain)
    for seed, image_wh in enumerate(SIZES):
        request = scene_request(seed, PROMPTS[seed], image_wh)
        after = parts.preprocessor.tokens(request.prompt.instruction).after
        inputs = plain.prepare(request)
        with torch.inference_mode():
            whole = plain.model(**inputs, use_cache=True)
        read = parts.read(request)
        assert read.length == inputs["input_ids"].shape[1] - len(after)
        assert read.next_position == read.length + int(plain.model.model.rope_deltas[0, 0])
        for (keys, values), its in zip(read.states, whole.past_key_values.layers, strict=True):
            torch.testing.assert_close(keys, its.keys[:, :, : read.length], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(values, its.values[:, :, : read.length], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_answers_are_the_same_to_the_last_bit_whatever_is_kept(dtype: str) -> None:
    engine = open_engine(TINY, dtype=dtype)
    for seed, text in enumerate(PROMPTS):
        request, other = scene_request(seed, text), scene_request(seed, PROMPTS[seed - 1])
        engine.forget()
        fresh = engine.answer(request, never_stop)
        engine.forget()
        engine.answer(replace(other, frame=request.frame), never_stop)
        kept = engine.answer(request, never_stop)
        assert (kept.text, kept.tokens) == (fresh.text, fresh.tokens)
    engine.close()


def equal(one: Prefix, other: Prefix) -> bool:
    pairs = zip(one.states, other.states, strict=True)
    return all(torch.equal(a, b) for mine, its in pairs for a, b in zip(mine, its, strict=True))


def layers_run(model: Any, action: Callable[[], object]) -> tuple[int, int]:
    """Count the vision blocks and decoder layers that run."""
    counts = [0, 0]

    def counter(place: int) -> Callable[..., None]:
        def count(*_: object) -> None:
            counts[place] += 1

        return count

    stacks = [model.model.visual.blocks, model.model.language_model.layers]
    hooks = [b.register_forward_pre_hook(counter(place)) for place, stack in enumerate(stacks) for b in stack]
    try:
        action()
    finally:
        for hook in hooks:
            hook.remove()
    return counts[0], counts[1]


def test_what_is_kept_is_not_computed_again(plain: PlainModel) -> None:
    parts, first, other = Parts(plain), scene_request(1, "red circle"), scene_request(2, "red circle")

    def run(request: Request) -> tuple[int, int]:
        return layers_run(plain.model, lambda: parts.read(request))

    # The layers run twice for the first prompt: over what stands before the image, and over the rest.
    assert run(first) == (VISION_BLOCKS, 2 * LAYERS)
    assert run(other) == (VISION_BLOCKS, LAYERS), "the constant part is there"
    for prompt in (build_prompt("blue square"), first.prompt, Prompt("say", Task.RAW, "Say something.")):
        assert run(replace(first, prompt=prompt)) == (0, 0)
    # In another size it is another image.
    assert run(replace(first, budget=PixelBudget(3136, SMALLEST_PX + 1_000))) == (VISION_BLOCKS, LAYERS)


def test_no_frame_is_taken_for_another(plain: PlainModel) -> None:
    parts, request = Parts(plain), scene_request(1, "red circle")
    frame, dark = request.frame, np.zeros_like(request.frame.rgb)
    parts.read(request)
    header = FrameHeader(9, 0, "camera")
    others = {
        "other pixels at the same time, as of files": replace(frame, rgb=dark),
        "other pixels in the same memory": replace(frame, rgb=frame.rgb.copy()),
        "a buffer that a camera has filled again": replace(frame, received_s=0.1),
        "the next one of a bag": replace(frame, header=header),
        "another camera": replace(frame, camera="/other"),
    }
    for name, other in others.items():
        asked = replace(request, frame=other)
        assert layers_run(plain.model, lambda asked=asked: parts.read(asked)) == (VISION_BLOCKS, LAYERS), name
    at_the_same_time = replace(request, frame=replace(frame, rgb=dark))
    assert equal(parts.read(at_the_same_time), Parts(plain).read(at_the_same_time))


def test_a_frame_that_nobody_holds_any_more_is_let_go_at_once(plain: PlainModel) -> None:
    parts = Parts(plain)
    requests = [scene_request(seed, "red circle") for seed in range(3)]
    for request in requests:
        parts.read(request)
    assert parts.prefill.kept_frames == 3
    del request, requests[1:]
    gc.collect()
    assert parts.prefill.kept_frames == 1
    assert layers_run(plain.model, lambda: parts.read(requests[0])) == (0, 0)


def test_memory_is_bounded_in_frames_and_bytes(plain: PlainModel, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(plain)
    requests = [scene_request(seed, "red circle") for seed in range(prefill_module.MAX_KEPT_FRAMES + 2)]
    for request in requests:
        parts.read(request)
    assert parts.prefill.kept_frames == prefill_module.MAX_KEPT_FRAMES
    one_frame = parts.prefill.kept_bytes // prefill_module.MAX_KEPT_FRAMES
    # Of each layer keys and values, float32 numbers, for every token up to the image's last.
    ids, image_token = plain.prepare(requests[0])["input_ids"][0].tolist(), plain.model.config.image_token_id
    length = ids.index(image_token) + ids.count(image_token)
    assert one_frame == LAYERS * 2 * KEY_HEADS * HEAD_WIDTH * 4 * length
    assert layers_run(plain.model, lambda: parts.read(requests[0]))[0] == VISION_BLOCKS, "the oldest has made room"
    assert layers_run(plain.model, lambda: parts.read(requests[-1]))[0] == 0
    for seed, (free, kept) in enumerate(((8 * 4 * one_frame, 4), (0, 0), (8 * one_frame, 1), (10**12, 2)), 1):
        # What is kept would be free without it: an eighth of all that is the room.
        monkeypatch.setattr(prefill_module, "free_bytes", lambda _, free=free: free - parts.prefill.kept_bytes)
        parts.read(requests[seed])
        assert parts.prefill.kept_frames == kept
        assert parts.prefill.kept_bytes == kept * one_frame


def test_a_stop_while_the_image_is_read_leaves_nothing_behind(plain: PlainModel, undrafted: TransformersEngine) -> None:
    request = scene_request(5, "all objects")
    expected = plain.answer(request).text
    for asked_before in (0, LAYERS - 1, LAYERS, LAYERS + VISION_BLOCKS, 2 * LAYERS + VISION_BLOCKS - 1):
        undrafted.forget()
        count = iter(range(1000))
        stopped = undrafted.answer(request, lambda: next(count) >= asked_before)  # noqa: B023 - asked in this turn alone
        assert (stopped.finish_reason, stopped.passes) == ("aborted", 0)
        assert undrafted.answer(request, never_stop).text == expected
