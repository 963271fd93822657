"""The batched training pass must be the model's own forward pass, or training teaches another model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from one_scene import IMAGE_WH, one_scene
from PIL import Image

from training import batches
from training import clips as drawing
from training.batches import BatchMaker
from training.checkpoint import TICKS_PER_S
from training.clips import Clips, draw_clips
from training.dense_targets import dense_targets, motion_of
from training.families import TinyFamily
from training.forward import run
from training.loss_weights import WEIGHTS
from training.watching import STEP_S
from vlm_perception.engines.transformers.clip_positions import clip_positions
from vlm_perception.engines.transformers.preprocessor import Preprocessor
from vlm_perception.scenes import Truth
from vlm_perception.scenes.clips import Happening
from vlm_perception.scenes.spec import LETTERS
from vlm_perception.types import Clip, Frame


@pytest.mark.parametrize("text_first", [False, True], ids=["image first", "text first"])
def test_packed_batch_gives_the_logits_of_the_plain_model(
    family: TinyFamily, processor: Any, text_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each packed question predicts what the upstream forward predicts for it alone."""
    monkeypatch.setattr(batches, "TEXT_FIRST_SHARE", 1.0 if text_first else 0.0)
    torch.manual_seed(0)
    model = family.build_model(processor.tokenizer).eval()
    batch, _ = BatchMaker(processor.tokenizer, np.random.default_rng(3)).make(one_scene(2, family), 384)
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


def test_patches_are_laid_out_as_the_processor_lays_them_out(family: TinyFamily, processor: Any) -> None:
    """Same pixels, same numbers a patch, in the same order."""
    scene = one_scene(4, family)
    wanted = processor.image_processor(images=[Image.fromarray(scene.pixels[0])], return_tensors="pt")
    torch.testing.assert_close(
        batches.patchify(scene.pixels, family)[0], torch.as_tensor(wanted["pixel_values"]), atol=1e-4, rtol=1e-4
    )


def test_the_chat_template_gives_the_sequence_that_is_trained(family: TinyFamily, processor: Any) -> None:
    """What the processor makes of a chat starts a training sequence, token for token."""
    scene = one_scene(5, family)
    batch, _ = BatchMaker(processor.tokenizer, np.random.default_rng(7)).make(scene, 384)
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
    ids = processor(text=[chat], images=[Image.fromarray(scene.pixels[0])], return_tensors="pt")["input_ids"][0]
    assert ids.tolist() == first.tolist()


def test_letters_are_told_to_the_tokens_that_they_lie_in(family: TinyFamily) -> None:
    """Left and right half of the token at each letter's place, as many as are written."""
    text = ("K7", (100.0, 100.0, 160.0, 130.0))
    view = family.view(IMAGE_WH)
    truth = Truth("red cart", (80.0, 80.0, 180.0, 170.0), {"pattern": "plain"}, (), text)
    dense = dense_targets([[truth]], view)
    letters = dense.letters[0]
    written = letters[letters > 0].tolist()
    assert [LETTERS[place - 1] for place in written] == ["K", "7"]
    halves = torch.nonzero(letters.view(view.grid_hw[0], -1))
    wanted_px = [x * view.model_wh[0] / IMAGE_WH[0] for x in (115, 145)]
    half_px = family.family.cell_px / 2
    assert halves[:, 1].tolist() == [int(x // half_px) for x in wanted_px]
    is_text = dense.text_xyxy[0, :, 2] > 0
    assert is_text[letters.sum(-1) > 0].all(), "each of them knows the box of the whole"
    for box, frame_wh in ((dense.text_xyxy, view.model_wh), (dense.text_written, view.reply_wh)):
        scaled = torch.tensor(text[1]) * torch.tensor(frame_wh).repeat(2) / torch.tensor(IMAGE_WH).repeat(2)
        torch.testing.assert_close(box[0][is_text], scaled.expand(int(is_text.sum()), -1), atol=0.6, rtol=0)


@pytest.fixture(scope="module")
def clips(family: TinyFamily) -> Clips:
    """Two of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_FRAMES", (6,))
        return draw_clips(np.random.default_rng(0), 2, family)


def test_a_packed_clip_gives_the_logits_of_the_plain_model(family: TinyFamily, processor: Any, clips: Clips) -> None:
    """Upstream's forward pass on each question alone, at positions in absolute time."""
    torch.manual_seed(0)
    model = family.build_model(processor.tokenizer).eval()
    batch, dense = BatchMaker(processor.tokenizer, np.random.default_rng(3)).make_clips(clips, 100)
    with torch.no_grad():
        packed = model.lm_head(run(model, batch).last)[0]
    video_token = model.config.video_token_id
    grids, tokens = batch.grid_t, batch.grid_hw[0] * batch.grid_hw[1] // 4
    assert int((batch.input_ids[0] == video_token).sum()) == grids * tokens == dense.kind.shape[1]
    # Qwen3-VL, whose grids stand apart in the text, is given each as a video of one grid.
    apart = family.family.times_in_text
    for number in range(1, int(batch.segments.max()) + 1):
        at = torch.nonzero((batch.segments[0] == 0) | (batch.segments[0] == number))[:, 0]
        ids = batch.input_ids[:1, at]
        with torch.no_grad():
            plain = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                position_ids=batch.positions[:, :1, at],
                pixel_values_videos=batch.patches[0],
                video_grid_thw=torch.tensor([[1, *batch.grid_hw]] * grids if apart else [[grids, *batch.grid_hw]]),
                mm_token_type_ids=2 * (ids == video_token).int(),
            ).logits[0]
        torch.testing.assert_close(packed[at], plain, atol=2e-4, rtol=1e-3)


def test_a_clip_is_trained_as_the_node_asks_about_it(family: TinyFamily, processor: Any, clips: Clips) -> None:
    """The same tokens at the same places; a model is blind to a clip whose places are not those that it learned."""
    batch, _ = BatchMaker(processor.tokenizer, np.random.default_rng(7)).make_clips(clips, 100)
    asked = torch.nonzero(batch.segments[0] <= 1)[:, 0]
    asked = asked[: int(torch.nonzero(batch.labels[0, asked] >= 0)[0]) + 1]
    times_s = tuple(STEP_S * place for place in range(clips.pixels.shape[1]))
    clip = Clip(tuple(Frame(pixels) for pixels in clips.pixels[0]), times_s)
    video_id = processor.tokenizer.convert_tokens_to_ids(processor.video_token)
    in_text = family.family.times_in_text
    own = Preprocessor(processor, -1, video_id=video_id, times_in_text=in_text)
    instruction = (
        processor.tokenizer.decode(batch.input_ids[0, asked]).split("<|vision_end|>")[-1].split("<|im_end|>")[0]
    )
    written, (down, across) = own.clip_tokens(instruction, clip), clips.view.grid_hw
    ids = [token for words in written.before for token in (*words, *[video_id] * (down * across))]
    assert [*ids, *written.after] == batch.input_ids[0, asked].tolist()
    words = [len(before) for before in written.before]
    positions, behind = clip_positions(words, down, across, own.ticks(clip, TICKS_PER_S))
    after = torch.arange(behind, behind + len(written.after)).expand(3, -1)
    assert torch.equal(batch.positions[:, 0, asked], torch.cat([positions, after], dim=1))


def test_patches_of_a_clip_are_laid_out_as_the_processor_lays_them_out(
    family: TinyFamily, processor: Any, clips: Clips
) -> None:
    """Two frames that follow each other become one step in time."""
    frames = np.array(clips.pixels[0])
    wanted = processor.video_processor(videos=[frames], do_resize=False, do_sample_frames=False, return_tensors="pt")
    patches = batches.patchify(frames[::2], family, frames[1::2])
    torch.testing.assert_close(
        patches.flatten(0, 1), torch.as_tensor(wanted["pixel_values_videos"]), atol=1e-4, rtol=1e-4
    )


def test_what_moves_is_told_to_the_tokens_that_it_covers(family: TinyFamily, clips: Clips) -> None:
    view = family.view(IMAGE_WH)
    truth = Truth("red cart", (80.0, 80.0, 180.0, 170.0), {"pattern": "plain"})
    still = Truth("blue face", (220.0, 20.0, 300.0, 100.0), {"pattern": "plain"})
    one = Happening("red cart", "moves", "left", 1.2, 1.9)
    pairs = [[truth, still]] * 3
    dense = dense_targets(pairs, view)
    motion = motion_of(dense, [pairs], [(one,)], view)
    assert [sorted(set(pair.tolist())) for pair in motion] == [[0], [0, 1], [0]]
    assert torch.equal(motion[1] > 0, dense.kind[1] == 4)


def test_times_are_read_where_a_thing_is_seen_to_move(family: TinyFamily, processor: Any, clips: Clips) -> None:
    """In a packed clip a time is read where something moves or has just stopped; and these digits count the most."""
    times = 0
    for seed in range(6):
        batch, dense = BatchMaker(processor.tokenizer, np.random.default_rng(seed)).make_clips(clips, 200)
        tokens = batch.grid_hw[0] * batch.grid_hw[1] // 4
        # Qwen3-VL has a null token behind each pair.
        stride = tokens + family.family.times_in_text
        for clip, place in (batch.weights == WEIGHTS["word"]).nonzero().tolist():
            pair, token = divmod(int(batch.pointers[clip, place]), stride)
            assert dense.phase[clip, pair * tokens + token] > 0
            times += 1
        assert int(batch.pointers.max()) <= (batch.grid_t - 1) * stride + tokens
    assert times > 8
