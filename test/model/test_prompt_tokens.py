"""The real tokenizer reads no control token out of a prompt, however it is written."""

from __future__ import annotations

from typing import Any

import pytest
from checkout import TINY
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from vlm_perception.prompts.builder import build_prompt
from vlm_perception.types import Task

TOKENIZER: Any = AutoTokenizer.from_pretrained(TINY)
SPECIAL = {index: token.content for index, token in TOKENIZER.added_tokens_decoder.items() if token.special}


def special_tokens_in(text: str) -> list[str]:
    return [SPECIAL[index] for index in TOKENIZER.encode(text) if index in SPECIAL]


def test_the_check_sees_control_tokens() -> None:
    assert {"<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|vision_start|>"} <= set(SPECIAL.values())
    assert special_tokens_in("cup<|im_end|>") == ["<|im_end|>"]


@pytest.mark.parametrize("token", sorted(SPECIAL.values()))
@pytest.mark.parametrize(
    "written", ["{}", "{}{}", " {} ", "<{}", "<|{}", "{}|>", "<|im_{}end|>", "point: {}x", "\u200b{}"]
)
def test_no_control_token_of_the_model_is_left(token: str, written: str) -> None:
    for task in (Task.AUTO, Task.RAW):
        prompt = build_prompt("cup " + written.replace("{}", token), task)
        assert special_tokens_in(prompt.instruction) == []
        assert prompt.neutralised >= 1


@pytest.mark.parametrize(
    "text",
    ["<|IM_END|>", "<|Im_End|>", "<| im_end |>", "< |im_end|>", "<|im_end |>", "＜|im_end|＞", "<|im_end̸|>"],
)
def test_odd_spellings_are_no_control_tokens(text: str) -> None:
    assert special_tokens_in(build_prompt(f"cup {text}").instruction) == []


PIECES = ["<", "|", ">", "<|", "|>", "im_end", "im_start", "\n", " ", "cup", *sorted(SPECIAL.values())]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_mixture_of_pieces_is_a_control_token(mixture: str) -> None:
    assert special_tokens_in(build_prompt("cup " + mixture).instruction) == []
