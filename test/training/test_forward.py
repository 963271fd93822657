"""The batched training pass must be the model's own forward pass, or training teaches another model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLProcessor

from training import batches
from training.batches import BatchMaker
from training.cache import Shard, model_size, resized
from training.checkpoint import build_model, build_processor, build_tokenizer
from training.forward import run
from training.questions import Asker
from vlm_perception.scenes import random_scene, render

IMAGE_WH = (320, 240)


class OneScene(Shard):
    """A shard of one scene, made in memory."""

    def __init__(self, seed: int) -> None:
        scene = render(random_scene(np.random.default_rng(seed), IMAGE_WH), IMAGE_WH)
        self.rgb = scene.rgb
        self.image_wh, self.model_wh = IMAGE_WH, model_size(IMAGE_WH)
        self.pixels = resized(scene.rgb, self.model_wh)[None]
        self.truths = [list(scene.truths)]


@pytest.fixture(scope="module")
def processor() -> Qwen2_5_VLProcessor:
    """A processor whose tokenizer knows the words of a few hundred questions."""
    shard, asker = OneScene(1), Asker(np.random.default_rng(0))
    asked = [asker.ask(shard.truths[0], IMAGE_WH, shard.model_wh) for _ in range(300)]
    return build_processor(build_tokenizer(text for q in asked for text in (q.instruction, q.reply)))


@pytest.mark.parametrize("text_first", [False, True], ids=["image first", "text first"])
def test_packed_batch_gives_the_logits_of_the_plain_model(
    processor: Qwen2_5_VLProcessor, text_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each packed question predicts what the upstream forward predicts for it alone."""
    monkeypatch.setattr(batches, "TEXT_FIRST_SHARE", 1.0 if text_first else 0.0)
    torch.manual_seed(0)
    model = build_model(processor.tokenizer).eval()
    batch, _ = BatchMaker(processor.tokenizer, 3).make(OneScene(2), 1, 384)
    with torch.no_grad():
        packed = model.lm_head(run(model, batch).last)[0]
    image_token = model.config.image_token_id
    for number in range(1, int(batch.segments.max()) + 1):
        at = torch.nonzero((batch.segments[0] == 0) | (batch.segments[0] == number))[:, 0]
        ids = batch.input_ids[:, at]
        with torch.no_grad():
            plain = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=batch.patches[0],
                image_grid_thw=torch.tensor([[1, *batch.grid_hw]]),
                mm_token_type_ids=(ids == image_token).int(),
            ).logits[0]
        torch.testing.assert_close(packed[at], plain, atol=2e-4, rtol=1e-3)


def test_patches_are_laid_out_as_the_processor_lays_them_out(processor: Qwen2_5_VLProcessor) -> None:
    """Same pixels, same 1176 numbers a patch, in the same order."""
    shard = OneScene(4)
    wanted = processor.image_processor(images=[Image.fromarray(shard.pixels[0])], return_tensors="pt")
    torch.testing.assert_close(
        batches.patchify(shard.pixels)[0], torch.as_tensor(wanted["pixel_values"]), atol=1e-4, rtol=1e-4
    )


def test_the_chat_template_gives_the_sequence_that_is_trained(processor: Qwen2_5_VLProcessor) -> None:
    """What the processor makes of a chat starts a training sequence, token for token."""
    shard = OneScene(5)
    batch, _ = BatchMaker(processor.tokenizer, 7).make(shard, 1, 384)
    first = batch.input_ids[0, : int(torch.nonzero(batch.labels[0] >= 0)[0]) + 1]
    text = processor.tokenizer.decode(first)
    instruction = text.split("<|vision_end|>")[1].split("<|im_end|>")[0]
    content = [{"type": "image"}, {"type": "text", "text": instruction}]
    if not instruction:
        instruction = text.split("user\n")[1].split("<|vision_start|>")[0]
        content = [{"type": "text", "text": instruction}, {"type": "image"}]
    chat = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    ids = processor(text=[chat], images=[Image.fromarray(shard.pixels[0])], return_tensors="pt")["input_ids"][0]
    assert ids.tolist() == first.tolist()
