from __future__ import annotations

import numpy as np
import pytest

from vlm_perception.engines.transformers.answered import MAX_ANSWERS, AnsweredQuestions, AskedKey
from vlm_perception.engines.transformers.inputs import FrameKey
from vlm_perception.types import Answer, FinishReason, Frame, FrameHeader, Timings

WH = (56, 28)


def key_of(rgb: np.ndarray, model_wh: tuple[int, int] = WH, stamp_sec: int = 0) -> FrameKey:
    return FrameKey.of(Frame(rgb, FrameHeader(stamp_sec, 0, "camera"), "/image", 0.0), model_wh)


def answer_of(text: str = "[]", finish_reason: FinishReason = "stop") -> Answer:
    return Answer(text, WH, "absolute", finish_reason, (), Timings(0, 0, 0))


def test_a_frame_is_known_by_its_pixels_alone() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mirrored = rgb[:, ::-1]
    assert key_of(rgb) == key_of(rgb.copy(), stamp_sec=7)
    # A view into a message buffer is not contiguous: its pixels count, not its memory.
    assert key_of(mirrored) == key_of(mirrored.copy()) != key_of(rgb)
    one_off = rgb.copy()
    one_off[19, 29, 2] ^= 1
    assert key_of(one_off) != key_of(rgb)


def test_the_same_bytes_in_another_shape_are_another_image() -> None:
    rgb = np.zeros((20, 30, 3), np.uint8)
    assert key_of(rgb) != key_of(rgb.reshape(30, 20, 3))
    assert key_of(rgb) != key_of(rgb, (28, 28))


@pytest.mark.parametrize(
    ("finish_reason", "kept"),
    [
        ("stop", True),
        ("length", True),
        ("repetition", True),
        ("aborted", False),
        ("timeout", False),
        ("unfinished", False),
    ],
)
def test_only_what_is_finished_is_kept(finish_reason: FinishReason, kept: bool) -> None:
    answered, asked = AnsweredQuestions(), AskedKey(key_of(np.zeros((4, 4, 3), np.uint8)), "cup", 8)
    answered.keep(asked, answer_of(finish_reason=finish_reason))
    assert (answered.find(asked) is not None) == kept


def test_prompt_and_limit_are_part_of_the_question() -> None:
    answered, frame = AnsweredQuestions(), key_of(np.zeros((4, 4, 3), np.uint8))
    answered.keep(AskedKey(frame, "cup", 8), answer_of())
    assert answered.find(AskedKey(frame, "cup", 8)) == answer_of()
    assert answered.find(AskedKey(frame, "cups", 8)) is None
    assert answered.find(AskedKey(frame, "cup", 9)) is None


def test_the_answer_not_asked_for_longest_makes_room() -> None:
    answered, frame = AnsweredQuestions(), key_of(np.zeros((4, 4, 3), np.uint8))
    keys = [AskedKey(frame, f"prompt {i}", 8) for i in range(MAX_ANSWERS + 1)]
    for key in keys[:-1]:
        answered.keep(key, answer_of(key.instruction))
    assert answered.find(keys[0]) is not None
    answered.keep(keys[-1], answer_of())
    assert answered.find(keys[1]) is None
    assert all(answered.find(key) is not None for key in (keys[0], *keys[2:]))
