"""What is written about a clip is what transformers writes, whichever family, however its frames are spaced."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForImageTextToText, AutoProcessor
from untrained_families import MAKE, save

from benchmarks.plain import align_tokens
from vlm_perception.engines.base import never_stop
from vlm_perception.engines.factory import open_engine
from vlm_perception.engines.families import FAMILIES
from vlm_perception.engines.transformers.clip_positions import clip_positions, grid_times_s, ticks_of
from vlm_perception.engines.transformers.engine import TransformersEngine
from vlm_perception.types import Answer, Clip, Frame, FrameHeader, PixelBudget, Prompt, Request, Task

WANTED = Prompt("what happened?", Task.WATCH, "what happened?\nUse 'mm:ss.ff' as time format.")


def a_clip(times_s: Sequence[float], wh: tuple[int, int], seed: int = 1) -> Clip:
    random = np.random.default_rng(seed)
    frames = [
        Frame(random.integers(0, 256, (*wh[::-1], 3), dtype=np.uint8), FrameHeader(9, 0, "camera"), "/image", time_s)
        for time_s in times_s
    ]
    return Clip(tuple(frames), tuple(times_s))


def asked(clip: Clip, tokens: int = 24, budget: PixelBudget | None = None) -> Request:
    return Request(clip.frames[-1], WANTED, budget or PixelBudget(64 * 64, 256 * 256), tokens, clip=clip)


class Subject:
    """A checkpoint with random weights, in the engine and in transformers' own hands."""

    def __init__(self, folder: Path, family: str) -> None:
        self.family = FAMILIES[family]
        self.engine: TransformersEngine = open_engine(folder)
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").eval()

    def prepare(self, clip: Clip, rate_hz: float) -> Any:
        """Build the inputs in transformers' own way, of frames that are as large as the model is to see them."""
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": WANTED.instruction}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        if self.family.times_in_text:
            # Releases from 5.0 on leave these around the whole; the family's own code, in 4.57, does not.
            prompt = prompt.replace("<|vision_start|><|video_pad|><|vision_end|>", "<|video_pad|>")
        video = torch.from_numpy(np.stack([frame.rgb for frame in clip.frames])).permute(0, 3, 1, 2)
        indices = list(range(len(clip.frames)))
        return self.processor(
            text=[prompt],
            videos=[video],
            video_metadata=[{"fps": rate_hz, "frames_indices": indices, "total_num_frames": len(indices)}],
            do_sample_frames=False,
            do_resize=False,
            return_tensors="pt",
        )

    @torch.no_grad()
    def written(self, inputs: Any, tokens: int = 24) -> str:
        ids = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        return align_tokens(self.processor.tokenizer, ids.tolist(), [0.0] * len(ids))[0]


@pytest.fixture(scope="module", params=["qwen2_5_vl", *MAKE])
def subject(
    request: pytest.FixtureRequest, random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    if FAMILIES[request.param].recurrent and not hasattr(transformers, "Qwen3_5ForConditionalGeneration"):
        pytest.skip(f"transformers {transformers.__version__} does not know {request.param}")
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "qwen2_5_vl":
        shutil.copytree(random_checkpoint, folder, dirs_exist_ok=True)
    else:
        save(folder, request.param)
    made = Subject(folder, request.param)
    yield made
    made.engine.close()


def wh_of(subject: Subject) -> tuple[int, int]:
    """A size that the checkpoint takes as it is."""
    return (224, 168) if not subject.family.times_in_text else (128, 96)


def assert_written(answer: Answer, expected: str) -> None:
    """All of it, or what comes before the loop that the engine ends and a random model may fall into."""
    whole = answer.finish_reason != "repetition"
    assert answer.text == (expected if whole else expected[: len(answer.text)])


# Transformers places text behind a Qwen2.5-VL video right only where it has more columns than ticks.
EVEN = [(1, 2.0), (2, 8.0), (5, 8.0), (6, 8.0)]


@pytest.mark.parametrize(("count", "rate_hz"), EVEN)
def test_evenly_spaced_frames_give_what_generate_gives(subject: Subject, count: int, rate_hz: float) -> None:
    clip = a_clip([index / rate_hz for index in range(count)], wh_of(subject))
    answer = subject.engine.answer(asked(clip), never_stop)
    assert answer.model_wh == wh_of(subject)
    assert_written(answer, subject.written(subject.prepare(clip, rate_hz)))
    assert answer.tokens


def test_the_times_of_the_frames_are_what_the_model_is_told(subject: Subject) -> None:
    """Transformers knows one spacing a video, so it is given what the engine makes of these."""
    times_s = [0.0, 0.1, 0.9, 2.0, 2.3, 7.0, 8.0]
    clip = a_clip(times_s, wh_of(subject))
    inputs = subject.prepare(clip, 1.0)
    if subject.family.times_in_text:
        means_s = [sum(grid) / 2 for grid in grid_times_s(times_s, 2)]
        text = subject.processor.tokenizer.decode(inputs["input_ids"][0])
        for old_s, new_s in zip([0.5, 2.5, 4.5, 6.0], means_s, strict=True):
            text = text.replace(f"<{old_s:.1f} seconds><|vision_start|>", f"<new {new_s:.1f} seconds><|vision_start|>")
        ids = subject.processor.tokenizer(text.replace("<new ", "<"), return_tensors="pt")["input_ids"]
        kinds = (ids == subject.model.config.video_token_id).int() * 2
        inputs = {**inputs, "input_ids": ids, "mm_token_type_ids": kinds, "attention_mask": torch.ones_like(ids)}
        expected = subject.written(inputs)
    else:
        expected = written_with_positions(subject, inputs, times_s)
    assert_written(subject.engine.answer(asked(clip), never_stop), expected)
    even = a_clip([float(index) for index in range(7)], wh_of(subject))
    told = [subject.engine.answer(asked(each), never_stop).tokens for each in (clip, even)]
    assert told[0] != told[1], "the same pixels at other times are something else"


def written_with_positions(subject: Subject, inputs: Any, times_s: Sequence[float]) -> str:
    """Write one token after the other in transformers' own forward pass, in positions that it is given."""
    video_id, grid = subject.model.config.video_token_id, inputs["video_grid_thw"][0].tolist()
    ids = inputs["input_ids"][0].tolist()
    ticks = ticks_of(times_s, 2, subject.model.config.vision_config.tokens_per_second)
    words = [ids.index(video_id), *[0] * (grid[0] - 1)]
    head, behind = clip_positions(words, grid[1] // 2, grid[2] // 2, ticks)
    count = head.shape[1]
    written: list[int] = []
    with torch.no_grad():
        for _ in range(24):
            rest = torch.arange(behind, behind + len(ids) + len(written) - count).expand(3, -1)
            row = torch.tensor([ids + written])
            seen = subject.model(
                input_ids=row,
                pixel_values_videos=inputs["pixel_values_videos"],
                video_grid_thw=inputs["video_grid_thw"],
                position_ids=torch.cat([head, rest], dim=1)[:, None],
                mm_token_type_ids=(row == video_id).int() * 2,
                use_cache=False,
            )
            written.append(int(seen.logits[0, -1].argmax()))
    return align_tokens(subject.processor.tokenizer, written, [0.0] * len(written))[0]


def test_a_long_clip_a_batch_and_an_image_after_it_are_each_as_alone(subject: Subject) -> None:
    clips = [a_clip([0.0, 0.5, 1.5, 20.0], wh_of(subject), seed) for seed in (1, 2)]
    image = Request(clips[0].frames[-1], WANTED, PixelBudget(64 * 64, 256 * 256), 24)
    requests = [asked(clips[0]), image, asked(clips[1], 12)]
    alone = [subject.engine.answer(request, never_stop) for request in requests]
    together = subject.engine.answer_batch(requests, [never_stop] * 3)
    assert [parts(answer) for answer in together] == [parts(answer) for answer in alone]
    assert len({answer.text for answer in alone}) == 3
    again = [subject.engine.answer(request, never_stop) for request in requests]
    assert [parts(answer) for answer in again] == [parts(answer) for answer in alone], "no draft changes anything"


def parts(answer: Answer) -> tuple[object, ...]:
    return answer.text, answer.tokens, answer.finish_reason, answer.model_wh


@pytest.mark.parametrize("after", [0, 2])
def test_a_clip_that_nobody_wants_any_more_is_left(subject: Subject, after: int) -> None:
    asks = iter(range(1000))
    answer = subject.engine.answer(asked(a_clip([0.0, 1.0], wh_of(subject))), lambda: next(asks) >= after)
    assert (answer.finish_reason, answer.tokens) == ("aborted", ())


def test_frames_of_other_sizes_are_brought_to_one(subject: Subject) -> None:
    """The frames before are kept small, the last one is not."""
    small, last = a_clip([0.0], (160, 120)).frames[0], a_clip([1.0], (640, 480)).frames[0]
    answer = subject.engine.answer(asked(Clip((small, last), (0.0, 1.0))), never_stop)
    assert answer.model_wh == subject.engine.blank_answer(asked(a_clip([0.0], (640, 480)))).model_wh
    assert answer.text


def test_a_template_without_a_video_is_refused(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = subject.engine._generator._loaded.processor
    monkeypatch.setattr(processor, "chat_template", processor.chat_template.replace("video_pad", "image_pad"))
    with pytest.raises(Exception, match=r"writes 0 videos .*use the template that the checkpoint came with"):
        subject.engine.answer(asked(a_clip([0.0, 1.0], wh_of(subject))), never_stop)


# Frames, their rate, image tokens of a grid, tokens a second.
SPACINGS = [(2, 2.0, 3, 4, 4), (16, 2.0, 7, 7, 4), (9, 8.0, 6, 8, 4), (16, 1.0, 4, 4, 2), (11, 30.0, 5, 3, 25)]


@pytest.mark.parametrize(("count", "rate_hz", "rows", "columns", "tokens_per_second"), SPACINGS)
def test_even_spacing_gives_the_positions_of_transformers(
    random_checkpoint: Path, count: int, rate_hz: float, rows: int, columns: int, tokens_per_second: int
) -> None:
    model = AutoModelForImageTextToText.from_pretrained(random_checkpoint).model
    model.config.vision_config.tokens_per_second = tokens_per_second
    grids, words = math.ceil(count / 2), 5
    kinds = torch.tensor([[0] * words + [2] * (grids * rows * columns) + [0] * 3])
    its, _ = model.get_rope_index(
        torch.zeros_like(kinds),
        kinds,
        video_grid_thw=torch.tensor([[grids, 2 * rows, 2 * columns]]),
        second_per_grid_ts=torch.tensor([2 / rate_hz]),
    )
    ticks = ticks_of([index / rate_hz for index in range(count)], 2, tokens_per_second)
    mine, behind = clip_positions([words, *[0] * (grids - 1)], rows, columns, ticks)
    assert torch.equal(mine, its[:, 0, :-3])
    assert behind == int(mine.max()) + 1


def test_text_goes_on_after_the_last_moment() -> None:
    """The case of transformers issue 45381, as release 5.2 has it: 84 grids of 12 by 16 up to 347, text from 348."""
    positions, behind = clip_positions([15, *[0] * 83], 12, 16, [4 * index for index in range(84)])
    assert (int(positions[0].max()), int(positions[1].max()), int(positions[2].max()), behind) == (347, 26, 30, 348)


def test_grids_without_a_last_frame_take_the_newest_twice() -> None:
    assert grid_times_s([0.0, 0.5, 2.0], 2) == [(0.0, 0.5), (2.0, 2.0)]
    assert ticks_of([0.0, 0.3, 0.6, 0.9, 1.2], 2, 5) == [0, 3, 6], "0.6 times 5 is 3, in binary numbers too"
