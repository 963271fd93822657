"""Anything from outside gives a good value or one of the documented errors; nothing else leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_images import COMPRESSED, IMAGES, UINT32, FuzzCompressed, FuzzImage, sound_images
from fuzz_profile import fuzz
from fuzz_prompts import CHAT_TOKENS, PROMPTS
from fuzz_values import MAPPINGS, REPLIES
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.families import plan_resize
from vlm_perception.errors import GeometryError, ImageError, PromptError, SettingsError
from vlm_perception.frames.compressed import compressed_to_rgb
from vlm_perception.frames.encodings import RawLayout, check_raw, raw_to_rgb
from vlm_perception.prompts.builder import load_prompts
from vlm_perception.replies.reader import AnswerReader
from vlm_perception.replies.texts import TextReader
from vlm_perception.settings import Settings, parameters
from vlm_perception.types import PixelBudget, Task

RAW_CAUSES = {"zero_size", "unknown_encoding", "wrong_step", "truncated", "undecodable"}
BOOK = load_prompts()


def layout_of(image: FuzzImage) -> RawLayout:
    return RawLayout(image.encoding, image.width, image.height, image.step, bool(image.is_bigendian))


@fuzz
@given(IMAGES)
def test_any_image(image: FuzzImage) -> None:
    try:
        rgb = raw_to_rgb(image.data, layout_of(image))
    except ImageError as error:
        assert error.cause in RAW_CAUSES  # noqa: PT017 - pixels are as good
        return
    assert (rgb.shape, rgb.dtype) == ((image.height, image.width, 3), np.uint8)


@fuzz
@given(sound_images())
def test_an_image_that_keeps_the_rules_is_read(image: FuzzImage) -> None:
    check_raw(layout_of(image), len(image.data))
    if image.encoding.startswith("bayer") and min(image.width, image.height) < 3:
        return
    assert raw_to_rgb(image.data, layout_of(image)).shape == (image.height, image.width, 3)


@fuzz
@given(COMPRESSED)
def test_any_compressed_image(image: FuzzCompressed) -> None:
    try:
        rgb = compressed_to_rgb(image.data, image.format)
    except ImageError as error:
        assert error.cause in RAW_CAUSES | {"too_large"}  # noqa: PT017 - pixels are as good
        return
    assert (rgb.ndim, rgb.shape[2], rgb.dtype) == (3, 3, np.uint8)


@fuzz
@given(
    st.tuples(st.integers(-2, UINT32) | st.integers(1, 9000), st.integers(-2, UINT32) | st.integers(1, 9000)),
    st.tuples(st.integers(3136, 12_845_056), st.integers(3136, 12_845_056)),
)
def test_any_image_size(image_wh: tuple[int, int], areas: tuple[int, int]) -> None:
    try:
        planned = plan_resize(image_wh, PixelBudget(*areas), cell_px=28)
    except GeometryError:
        return
    assert all(side >= 28 and side % 28 == 0 for side in planned)
    assert min(areas) == areas[0]


@fuzz
@given(PROMPTS, st.sampled_from(Task))
def test_any_prompt(text: str, task: Task) -> None:
    try:
        prompt = BOOK.build(text, task)
    except PromptError as error:
        # A 10 MB prompt must not make a 10 MB log line.
        assert len(str(error)) < 20_000  # noqa: PT017 - an instruction is as good
        return
    assert prompt.task is not Task.AUTO
    assert not any(token in prompt.instruction for token in CHAT_TOKENS)
    prompt.instruction.encode("utf-8")


@pytest.mark.parametrize("kind", [AnswerReader, TextReader])
@fuzz
@given(REPLIES, st.sampled_from(["absolute", "relative_1000"]))
def test_any_reply(kind: type[AnswerReader | TextReader], text: str, frame: Any) -> None:
    reader = kind(model_wh=(644, 476), image_wh=(640, 480), coordinates=frame)
    reader.feed(text)
    parsed = reader.finish()
    for found in parsed.objects:
        numbers = found.xyxy or found.point_xy or ()
        assert numbers
        assert all(0 <= x <= 640 for x in numbers[::2])
        assert all(0 <= y <= 480 for y in numbers[1::2])


@fuzz
@given(MAPPINGS)
def test_any_parameters(values: dict[str, Any]) -> None:
    try:
        settings = Settings.from_mapping(values)
    except SettingsError:
        return
    for parameter in parameters():
        value = settings.to_mapping()[parameter.name]
        if parameter.minimum is not None and parameter.maximum is not None:
            assert parameter.minimum <= float(value) <= parameter.maximum
    assert settings.min_pixels <= settings.max_pixels


COUNT = """
from fuzz_profile import fuzz
from hypothesis import given, strategies as st
count = 0
@fuzz
@given(st.integers())
def try_one(_):
    global count
    count += 1
try_one()
print(count)
"""


@pytest.mark.parametrize(("profile", "examples"), [("", 500), ("ci", 500), ("nightly", 10_000)])
def test_the_profile_is_chosen_by_the_environment(profile: str, examples: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        env={**os.environ, "VLM_PERCEPTION_FUZZ": profile, "PYTHONPATH": str(Path(__file__).parents[2] / "strategies")},
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )
    assert int(done.stdout) == examples
