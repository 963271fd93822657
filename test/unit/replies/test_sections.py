"""Thinking is no answer: nothing of it is an object, a reject, prose or a count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.replies.reader import AnswerReader, parse_answer

SIZES: dict[str, Any] = {"model_wh": (1000, 1000), "image_wh": (1000, 1000)}
CUP = '{"bbox_2d": [90, 110, 290, 310], "label": "cup"}'
DOG = '{"bbox_2d": [510, 230, 630, 390], "label": "dog"}'

# reply, labels, prose, thinking
REPLIES: list[tuple[str, list[str], str, str]] = [
    (f"<think>[{CUP}] No, the dog.</think>[{DOG}]", ["dog"], "", f"[{CUP}] No, the dog."),
    (f"[{CUP}] No.</think>\n[{DOG}]", ["dog"], "", f"[{CUP}] No."),  # the opening was a part of the prompt
    (f"<think>\n\n</think>\n\n[{CUP}]", ["cup"], "", ""),  # Qwen3 with its thinking switched off
    (f"<think>Here: [{CUP}", [], "", f"Here: [{CUP}"),  # cut off while it thought
    (f"<think>Here: [{CUP}", [], "", f"Here: [{CUP}"),
    (f"<reasoning>{CUP}</reasoning>\n{DOG}", ["dog"], "", CUP),
    (f"<thought>{CUP}</thought>{DOG}", ["dog"], "", CUP),
    (f"<Thinking>{CUP}</Thinking>{DOG}", ["dog"], "", CUP),
    (f"◁think▷{CUP}◁/think▷{DOG}", ["dog"], "", CUP),  # Kimi-VL
    (f"[THINK]{CUP}[/THINK]{DOG}", ["dog"], "", CUP),  # Magistral
    (f"<think>a</think><answer>[{CUP}]</answer>", ["cup"], "", "a"),
    (f"It may be {CUP}. <answer>[{DOG}]</answer> Done.", ["dog"], "", f"It may be {CUP}.  Done."),
    (f"<think>so it is <answer>[{DOG}]</answer>", ["dog"], "", "so it is"),  # the thinking never ended
    (f"<answer>{CUP}</answer>\n<answer>{DOG}</answer>", ["cup", "dog"], "", ""),
    ('<think>an open quote "{ and [</think>' + f"[{CUP}]", ["cup"], "", 'an open quote "{ and ['),
    (f"<|begin_of_thought|>{CUP}<|end_of_thought|>{DOG}", ["dog"], "", CUP),
    (f"<|channel|>analysis<|message|>{CUP}<|end|><|channel|>final<|message|>{DOG}", ["dog"], "", f"{CUP}<|end|>"),
    (f"<analysis>{CUP}</analysis><final>{DOG}</final>", ["dog"], "", CUP),
    (f"<think >{CUP}</think >{DOG}", ["dog"], "", CUP),
    (f"Yes.</think>1,2,30,40 cat\n5,6,70,80 dog\n{CUP}", ["cat", "dog", "cup"], "", "Yes."),  # lines begin behind it
    (f"{CUP}<think>{DOG}", ["cup"], "", DOG),
    ("<think>7 or 8</think>There are three cups.", [], "There are three cups.", "7 or 8"),
    (f"2 < 3, a <b>c</b> and <thin>: {CUP}", ["cup"], "2 < 3, a <b>c</b> and <thin>:", ""),  # no such tags
]


@pytest.mark.parametrize(("text", "labels", "prose", "thinking"), REPLIES)
@pytest.mark.parametrize("width", [1, 3, 10**6])
def test_only_the_answer_is_read(text: str, labels: list[str], prose: str, thinking: str, width: int) -> None:
    reader = AnswerReader(**SIZES)
    for at in range(0, len(text), width):
        reader.feed(text[at : at + width])
    assert reader.text == text
    parsed = reader.finish()
    assert [found.label for found in parsed.objects] == labels
    assert (parsed.rejects, parsed.text, parsed.thinking) == ((), prose, thinking)


def test_places_and_evidence_are_those_of_the_whole_reply() -> None:
    text = f"<think>{CUP}</think>\n{DOG}"
    (found,) = parse_answer(text, **SIZES).objects
    assert text[slice(*found.span)] == DOG
    assert text[slice(*found.evidence.begin)].strip() == '{"bbox_2d": ['


PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<thi",
    "nk>",
    "<",
    "/",
    CUP,
    DOG,
    "1,2,30,40 a",
    "\n",
    "[",
    "]",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.integers(1, 9))
def test_chunks_change_nothing(text: str, width: int) -> None:
    reader, told = AnswerReader(**SIZES), 0
    for at in range(0, len(text), width):
        complete = reader.feed(text[at : at + width])
        assert reader.told in (told + len(complete), len(complete)), "either goes on, or begins again"
        told = reader.told
    parsed = reader.finish()
    assert parsed == parse_answer(text, **SIZES)
