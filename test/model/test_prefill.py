"""What is kept between questions: it saves passes and changes no answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkout import TINY
from transformers import AutoProcessor

import vlm_perception.engines.transformers.prefill as prefill_module
from benchmarks.plain import TIE, PlainModel, first_difference
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.inputs import FrameKey, QuestionWriter
from vlm_perception.engines.transformers.prefill import Prefill, Prefix
from vlm_perception.errors import InferenceError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Prompt, Request, Task, Token

RequestMaker = Callable[..., Request]
PROMPTS = (
    "all objects",
    "red circle",
    "count the blue squares",
    "point at the green triangle",
    "what is in the image?",
)
SIZES = ((640, 480), (480, 640), (320, 240), (1280, 360))
# Vision blocks and decoder layers that a tiny model runs for one frame.
VISION, LAYERS = 4, 6


@pytest.fixture(scope="module")
def plain() -> PlainModel:
    return PlainModel(str(TINY))


@pytest.fixture(scope="module")
def tiny() -> Iterator[TransformersEngine]:
    engine = open_engine(TINY, drafting=False)
    yield engine
    engine.close()


def scene_request(seed: int, text: str, image_wh: tuple[int, int] = (640, 480), stamp_sec: int = 1) -> Request:
    rgb = MovingScene(seed, image_wh, n_objects=1 + seed % 6).at(0.0).rgb
    frame = Frame(rgb, FrameHeader(stamp_sec, 0, "camera"), "/image", 0.0)
    return Request(frame, build_prompt(text), PixelBudget(224 * 224, 1024 * 1024), 256)


class Parts:
    """Reads questions with the model of `PlainModel`, and counts the vision blocks and layers that run."""

    def __init__(self, plain: PlainModel) -> None:
        self.model = plain.model
        self.writer = QuestionWriter(plain.processor, plain.model.config.image_token_id)
        self.prefill = Prefill(plain.model)

    def read(self, request: Request, draft: Sequence[int] = ()) -> Any:
        model_wh = self.writer.plan_wh(request)
        frame, question = FrameKey.of(request.frame, model_wh), self.writer.write(request.prompt.instruction)
        known = self.prefill.knows(frame, question)
        patches = None if known else self.writer.patches(request)
        with torch.inference_mode():
            return self.prefill.read(frame, question, patches, draft)


def test_answers_are_those_of_plain_generate_whatever_is_kept(tiny: TransformersEngine, plain: PlainModel) -> None:
    asked = ties = 0
    for seed in range(24):
        for text in (PROMPTS[seed % 5], PROMPTS[(seed + 1) % 5]):
            request = scene_request(seed, text, SIZES[seed % 4])
            expected = plain.answer(request, logits=True)
            answer = tiny.answer(request, never_stop)
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


def test_positions_and_logits_are_those_of_the_whole_prompt_in_one_pass(plain: PlainModel) -> None:
    parts = Parts(plain)
    for seed, image_wh in enumerate(SIZES):
        for text in PROMPTS:
            request = scene_request(seed, text, image_wh)
            inputs = plain.prepare(request)
            with torch.inference_mode():
                whole = plain.model(**inputs, use_cache=True)
            read = parts.read(request)
            assert read.length == inputs["input_ids"].shape[1] == read.cache.get_seq_length()
            assert read.next_position == read.length + int(plain.model.model.rope_deltas[0, 0])
            torch.testing.assert_close(read.logits, whole.logits[:, -1], atol=1e-4, rtol=1e-4)
            for mine, its in zip(read.cache.layers, whole.past_key_values.layers, strict=True):
                torch.testing.assert_close(mine.keys, its.keys, atol=1e-4, rtol=1e-4)


def test_a_draft_is_read_with_the_question_and_is_not_kept(plain: PlainModel) -> None:
    parts = Parts(plain)
    request = scene_request(2, "all objects")
    ids = plain.answer(request).ids
    inputs = plain.prepare(request)
    whole = torch.cat([inputs["input_ids"], torch.tensor([ids])], dim=1)
    kinds = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(ids)))
    given = {**inputs, "input_ids": whole, "mm_token_type_ids": kinds, "attention_mask": torch.ones_like(whole)}
    with torch.inference_mode():
        expected = plain.model(**given).logits[0, -len(ids) - 1 :]
    length = inputs["input_ids"].shape[1]
    # The frame is not known, then it is; what is kept of it does not hold the draft.
    for _ in range(2):
        read = parts.read(request, ids)
        assert (read.draft, read.length, read.cache.get_seq_length()) == (ids, length, length + len(ids))
        torch.testing.assert_close(read.logits, expected, atol=1e-4, rtol=1e-4)
    assert parts.read(request).cache.get_seq_length() == length


def test_a_draft_ends_where_a_token_would_stand_for_an_image(plain: PlainModel) -> None:
    config, request = plain.model.config, scene_request(2, "all objects")
    for placeholder in (config.image_token_id, config.video_token_id):
        read = Parts(plain).read(request, (20, 21, placeholder, 22))
        assert (read.draft, len(read.logits)) == ((20, 21), 3)


def test_image_positions_are_those_of_the_model(plain: PlainModel) -> None:
    parts = Parts(plain)
    given: list[torch.Tensor] = []
    hook = plain.model.register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs["position_ids"]), with_kwargs=True
    )
    request = scene_request(3, "red circle", (1280, 360))
    try:
        parts.read(request)
    finally:
        hook.remove()
    inputs = plain.prepare(request)
    its, _ = plain.model.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], image_grid_thw=inputs["image_grid_thw"]
    )
    assert torch.equal(torch.cat(given, dim=2), its)


def test_the_prompt_has_the_tokens_that_the_processor_gives(plain: PlainModel) -> None:
    parts = Parts(plain)
    for text in (*PROMPTS, "猫 <|image_pad|> <|im_end|> 🐈"):
        request = scene_request(1, text)
        ids = plain.prepare(request)["input_ids"][0].tolist()
        question = parts.writer.write(request.prompt.instruction)
        image = ids.count(question.image_id)
        assert [*question.before, *[question.image_id] * image, *question.after] == ids


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
    parts = Parts(plain)
    # The layers run twice for the first question: over what stands before the image, and over the rest.
    assert layers_run(plain.model, lambda: parts.read(scene_request(1, "red circle"))) == (VISION, 2 * LAYERS)
    # Another frame: the constant part is there.
    assert layers_run(plain.model, lambda: parts.read(scene_request(2, "red circle"))) == (VISION, LAYERS)
    # Another prompt about either frame, which a camera may have sent again: no vision.
    again = scene_request(1, "blue square", stamp_sec=9)
    assert layers_run(plain.model, lambda: parts.read(again)) == (0, LAYERS)
    # Another size of the same pixels is another image to the model.
    smaller = Request(again.frame, again.prompt, PixelBudget(3136, 31_000), 8)
    assert layers_run(plain.model, lambda: parts.read(smaller)) == (VISION, LAYERS)


def test_an_answer_owns_its_cache(plain: PlainModel) -> None:
    parts = Parts(plain)
    request = scene_request(4, "red circle")
    first = parts.read(request)
    expected = [layer.keys.clone() for layer in first.cache.layers]
    second = parts.read(request)
    with torch.inference_mode():
        for layer in (*first.cache.layers, *second.cache.layers):
            layer.keys.zero_()
            layer.values.fill_(7.0)
    third = parts.read(request)
    for layer, keys in zip(third.cache.layers, expected, strict=True):
        torch.testing.assert_close(layer.keys, keys, atol=1e-4, rtol=1e-4)
    assert torch.equal(second.logits, third.logits)


def test_memory_is_bounded_in_frames_and_bytes(plain: PlainModel, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(plain)
    requests = [scene_request(seed, "red circle") for seed in range(prefill_module.MAX_KEPT_FRAMES + 2)]
    for request in requests:
        parts.read(request)
    assert parts.prefill.kept_frames == prefill_module.MAX_KEPT_FRAMES
    one_frame = parts.prefill.kept_bytes // prefill_module.MAX_KEPT_FRAMES
    # 6 layers, keys and values, 2 heads of 32 float32 numbers, for every token up to the image's last.
    length = plain.prepare(requests[0])["input_ids"][0].tolist().index(plain.model.config.image_token_id) + 8 * 6
    assert one_frame == 6 * 2 * 2 * 32 * 4 * length
    assert layers_run(plain.model, lambda: parts.read(requests[0]))[0] == VISION, "the oldest has made room"
    assert layers_run(plain.model, lambda: parts.read(requests[-1]))[0] == 0
    monkeypatch.setattr(prefill_module, "MAX_KEPT_BYTES", 3 * one_frame)
    parts.read(requests[1])
    assert parts.prefill.kept_frames == 3
    monkeypatch.setattr(prefill_module, "MAX_KEPT_BYTES", one_frame - 1)
    parts.read(requests[2])
    assert (parts.prefill.kept_frames, parts.prefill.kept_bytes) == (0, 0)


def test_a_prefix_without_tokens_opens_an_empty_cache() -> None:
    assert Prefix().opened().get_seq_length() == 0
    assert Prefix().nbytes == 0


class Told:
    """An `on_text` that keeps what it was told."""

    def __init__(self) -> None:
        self.text, self.tokens = "", tuple[Token, ...]()

    def __call__(self, chunk: str, tokens: tuple[Token, ...]) -> None:
        self.text += chunk
        self.tokens += tokens


def test_the_same_question_about_the_same_image_takes_no_pass(tiny: TransformersEngine) -> None:
    tiny.forget()
    first = tiny.answer(scene_request(9, "all objects"), never_stop)
    told = Told()
    again = tiny.answer(scene_request(9, "all objects", stamp_sec=44), never_stop, told)
    assert first.passes == len(first.tokens) > 10
    assert again.passes == 0
    assert (again.text, again.tokens, again.finish_reason) == (first.text, first.tokens, first.finish_reason)
    assert (told.text, told.tokens) == (first.text, first.tokens)
    assert (again.timings.generate_s, again.timings.prefill_s) == (0.0, 0.0)
    assert 0 < first.timings.prefill_s < first.timings.generate_s


def test_another_limit_prompt_or_size_is_another_question(tiny: TransformersEngine) -> None:
    tiny.forget()
    asked = scene_request(9, "all objects")
    tiny.answer(asked, never_stop)
    for other in (
        Request(asked.frame, asked.prompt, asked.budget, 7),
        Request(asked.frame, build_prompt("red circle"), asked.budget, 256),
        Request(asked.frame, asked.prompt, PixelBudget(3136, 31_000), 256),
        scene_request(10, "all objects"),
    ):
        assert tiny.answer(other, never_stop).passes > 0


def test_a_stopped_answer_is_not_remembered_and_a_known_one_is_not_told_when_stopped(tiny: TransformersEngine) -> None:
    tiny.forget()
    request, told = scene_request(9, "all objects"), Told()
    cut = tiny.answer(request, lambda: len(told.tokens) >= 3, told)
    assert (cut.finish_reason, len(cut.tokens)) == ("aborted", 3)
    whole = tiny.answer(request, never_stop)
    assert whole.finish_reason == "stop"
    told = Told()
    stopped = tiny.answer(request, lambda: True, told)
    assert (stopped.finish_reason, stopped.text, stopped.passes, told.text) == ("aborted", "", 0, "")
    assert tiny.answer(request, never_stop).text == whole.text


def test_a_stop_while_the_image_is_read_leaves_nothing_behind(plain: PlainModel, tiny: TransformersEngine) -> None:
    request = scene_request(5, "all objects")
    expected = plain.answer(request).text
    for asked_before in range(2 * LAYERS + VISION):
        tiny.forget()
        count = iter(range(1000))
        stopped = tiny.answer(request, lambda: next(count) >= asked_before)  # noqa: B023 - asked in this turn alone
        assert (stopped.finish_reason, stopped.passes) == ("aborted", 0)
        assert tiny.answer(request, never_stop).text == expected


def test_closing_drops_what_is_kept() -> None:
    engine = open_engine(TINY)
    request = scene_request(9, "red circle")
    for _ in range(2):
        engine.load()
        assert engine.answer(request, never_stop).passes > 0
        assert engine.answer(request, never_stop).passes == 0
        engine.forget()
        assert engine.answer(request, never_stop).passes > 0
        engine.close()
    engine.forget()


@pytest.fixture
def with_template(tmp_path: Path) -> Callable[[str], TransformersEngine]:
    """Make an engine for the tiny checkpoint with another chat template."""

    def make(template: str) -> TransformersEngine:
        folder = tmp_path / "templated"
        shutil.copytree(TINY, folder, dirs_exist_ok=True)
        processor = AutoProcessor.from_pretrained(folder)
        processor.chat_template = processor.tokenizer.chat_template = template
        processor.save_pretrained(folder)
        return open_engine(folder, drafting=False)

    return make


IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
TEXT = "{{ messages[0]['content'][1]['text'] }}"
OTHER_TEMPLATES = {
    "the instruction before the image": f"<|im_start|>user\n{TEXT}{IMAGE}<|im_end|>\n<|im_start|>assistant\n",
    "the image first of all": f"<|image_pad|>{TEXT}<|im_end|>\n<|im_start|>assistant\n",
    "no system turn": f"<|im_start|>user\n{IMAGE}{TEXT}<|im_end|>\n<|im_start|>assistant\n",
}


@pytest.mark.parametrize("name", OTHER_TEMPLATES)
def test_other_templates_work_alike(with_template: Callable[[str], TransformersEngine], name: str) -> None:
    engine = with_template(OTHER_TEMPLATES[name])
    reference = PlainModel(engine.name)
    for seed, text in ((1, "red circle"), (1, "all objects"), (2, "all objects"), (2, "red circle"), (1, "red circle")):
        request = Request(scene_request(seed, text).frame, build_prompt(text), PixelBudget(50176, 1024 * 1024), 24)
        expected = reference.answer(request, logits=True)
        answer = engine.answer(request, never_stop)
        assert first_difference(answer.text, answer.tokens, expected) is None


@pytest.mark.parametrize(
    "template", [f"{TEXT}<|im_start|>assistant\n", f"{IMAGE}{IMAGE}{TEXT}", f"{TEXT}<|vision_start|><|image_pad|>"]
)
def test_a_template_without_one_image_and_text_behind_it_is_refused(
    with_template: Callable[[str], TransformersEngine], template: str
) -> None:
    with pytest.raises(InferenceError, match="the chat template writes"):
        with_template(template).answer(scene_request(1, "red circle"), never_stop)


def test_a_frame_that_is_not_kept_needs_its_patches(plain: PlainModel) -> None:
    parts = Parts(plain)
    question = parts.writer.write("red circle")
    frame = FrameKey(b"\x12", (28, 28), (28, 28))
    with pytest.raises(ValueError, match="12 is not kept"):
        parts.prefill.read(frame, question, None)


@pytest.mark.parametrize("image_wh", [(640, 480), (1280, 720), (31, 200), (1920, 1080)])
def test_patches_are_those_of_the_processor_left_to_itself(plain: PlainModel, image_wh: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (*image_wh[::-1], 3), dtype=np.uint8)
    request = Request(Frame(rgb, FrameHeader(0, 0, ""), "/image", 0.0), build_prompt("x"), PixelBudget(3136, 10**6), 8)
    ours = Parts(plain).writer.patches(request)
    theirs = plain.prepare(request)
    assert torch.equal(ours.pixels, theirs["pixel_values"])
    assert [list(ours.grid_thw)] == theirs["image_grid_thw"].tolist()


def _read_only(rgb: np.ndarray) -> np.ndarray:
    return np.frombuffer(rgb.tobytes(), np.uint8).reshape(rgb.shape)


def _padded(rgb: np.ndarray) -> np.ndarray:
    height, width, _ = rgb.shape
    rows = np.zeros((height, width * 3 + 7), np.uint8)
    rows[:, : width * 3] = rgb.reshape(height, -1)
    return rows[:, : width * 3].reshape(height, width, 3)


LAYOUTS = {
    "read-only": _read_only,
    "bgr seen as rgb": lambda rgb: rgb[..., ::-1].copy()[..., ::-1],
    "upside down": lambda rgb: rgb[::-1].copy()[::-1],
    "padded rows": _padded,
    "columns first": np.asfortranarray,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("image_wh", [(640, 480), (31, 200)])
def test_pixels_are_cut_alike_however_they_lie_in_memory(
    plain: PlainModel, image_wh: tuple[int, int], layout: Callable[[np.ndarray], np.ndarray]
) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (*image_wh[::-1], 3), dtype=np.uint8)
    budget = PixelBudget(224 * 224, 1024 * 1024)
    writer = Parts(plain).writer
    cut = [
        writer.patches(Request(Frame(pixels, FrameHeader(0, 0, ""), "/image", 0.0), build_prompt("x"), budget, 8))
        for pixels in (rgb, layout(rgb))
    ]
    assert torch.equal(cut[0].pixels, cut[1].pixels)


def test_raw_prompts_are_kept_apart(tiny: TransformersEngine) -> None:
    tiny.forget()
    frame = scene_request(1, "x").frame
    answers = [
        tiny.answer(Request(frame, Prompt(text, Task.RAW, text), PixelBudget(50176, 10**6), 16), never_stop)
        for text in ("Locate red circle in JSON format.", "Say something.", "Locate red circle in JSON format.")
    ]
    assert [answer.passes > 0 for answer in answers] == [True, True, False]
    assert answers[0].text == answers[2].text
