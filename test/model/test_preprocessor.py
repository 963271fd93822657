"""What the model is given is what its processor would give, whatever the template and the frame's memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import TINY
from transformers import AutoProcessor

from benchmarks.plain import PlainModel, first_difference
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.errors import ModelLoadError
from vlm_perception.prompts.builder import build_prompt
from vlm_perception.scenes import MovingScene
from vlm_perception.types import Frame, FrameHeader, PixelBudget, Request


def ask(rgb: np.ndarray, text: str, budget: PixelBudget | None = None) -> Request:
    frame = Frame(rgb, FrameHeader(0, 0, ""), "/image", 0.0)
    return Request(frame, build_prompt(text), budget or PixelBudget(224 * 224, 1024 * 1024), 24)


@pytest.fixture
def preprocessor(plain: PlainModel) -> Preprocessor:
    return Preprocessor(plain.processor, plain.model.config.image_token_id)


@pytest.mark.parametrize("text", ["all objects", "count the blue squares", "猫 <|image_pad|> <|im_end|> 🐈"])
def test_the_prompt_has_the_tokens_that_the_processor_gives(
    plain: PlainModel, preprocessor: Preprocessor, text: str
) -> None:
    request = ask(np.zeros((480, 640, 3), np.uint8), text)
    ids = plain.prepare(request)["input_ids"][0].tolist()
    prompt = preprocessor.tokens(request.prompt.instruction)
    image_id = plain.model.config.image_token_id
    assert [*prompt.before, *[image_id] * ids.count(image_id), *prompt.after] == ids


def test_thinking_is_off_where_the_template_knows_the_switch(plain: PlainModel) -> None:
    processor = copy(plain.processor)
    processor.chat_template += "{{ 'think' if enable_thinking | default(true) else 'thought' }}"
    after = Preprocessor(processor, plain.model.config.image_token_id).tokens("cat").after
    assert processor.tokenizer.decode(after).endswith("thought")


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
        request = ask(MovingScene(seed, (640, 480), 2).at(0.0).rgb, text)
        expected = reference.answer(request, logits=True)
        answer = engine.answer(request, never_stop)
        differs_at = first_difference(answer.text, answer.tokens, expected)
        # What the model was not trained on may make it repeat itself, which the engine ends.
        assert differs_at == (len(answer.tokens) if answer.finish_reason == "repetition" else None)


@pytest.mark.parametrize(
    "template", [f"{TEXT}<|im_start|>assistant\n", f"{IMAGE}{IMAGE}{TEXT}", f"{TEXT}<|vision_start|><|image_pad|>"]
)
def test_a_template_without_one_image_and_text_behind_it_is_refused(
    with_template: Callable[[str], TransformersEngine], template: str
) -> None:
    with pytest.raises(ModelLoadError, match="the chat template writes"):
        with_template(template)


def _read_only(rgb: np.ndarray) -> np.ndarray:
    return np.frombuffer(rgb.tobytes(), np.uint8).reshape(rgb.shape)


def _padded(rgb: np.ndarray) -> np.ndarray:
    height, width, _ = rgb.shape
    rows = np.zeros((height, width * 3 + 7), np.uint8)
    rows[:, : width * 3] = rgb.reshape(height, -1)
    return rows[:, : width * 3].reshape(height, width, 3)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it comes": lambda rgb: rgb,
    "read-only": _read_only,
    "bgr seen as rgb": lambda rgb: rgb[..., ::-1].copy()[..., ::-1],
    "upside down": lambda rgb: rgb[::-1].copy()[::-1],
    "padded rows": _padded,
    "columns first": np.asfortranarray,
}


@pytest.mark.parametrize("image_wh", [(640, 480), (1280, 720), (31, 200), (1920, 1080)])
def test_patches_are_those_of_the_processor_left_to_itself(
    plain: PlainModel, preprocessor: Preprocessor, image_wh: tuple[int, int]
) -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (*image_wh[::-1], 3), dtype=np.uint8)
    budget = PixelBudget(3136, 10**6)
    theirs = plain.prepare(ask(rgb, "x", budget))
    for name, layout in LAYOUTS.items():
        ours = preprocessor.patches(ask(layout(rgb), "x", budget))
        assert torch.equal(ours.pixels, theirs["pixel_values"]), name
        assert [list(ours.grid_thw)] == theirs["image_grid_thw"].tolist()


def test_patches_are_cut_on_the_device_from_the_resized_bytes(plain: PlainModel) -> None:
    """The device `meta` stands for one that is not the host: what is computed there leaves no values."""
    request = ask(np.zeros((480, 640, 3), np.uint8), "x")
    here, there = (Preprocessor(plain.processor, 10, device).patches(request) for device in ("cpu", "meta"))
    assert (there.pixels.device.type, there.grid_thw) == ("meta", here.grid_thw)
    assert (there.pixels.shape, there.pixels.dtype) == (here.pixels.shape, here.pixels.dtype)
