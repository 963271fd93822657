"""What a token decides is what it counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from one_scene import IMAGE_WH, one_scene

from training.batches import BatchMaker
from training.families import TinyFamily
from training.loss_weights import WEIGHTS, clip_weights, list_weights, sentence_weights
from training.pointers import REPLY_END, Pointers
from training.replies import Expected, render_reply
from training.token_roles import TokenRoles


def test_the_last_digit_of_a_thousandth_weighs_little(family: TinyFamily, processor: Any) -> None:
    """It is a quarter of a pixel; the last digit of a pixel counts as the others do."""
    batch, _ = BatchMaker(processor.tokenizer, np.random.default_rng(3)).make(one_scene(2, family), 384)
    digits = torch.tensor([processor.tokenizer.convert_tokens_to_ids(str(d)) for d in range(10)])
    # A number in a sentence is a word, one on a thing a letter.
    words = torch.tensor([WEIGHTS["word"], WEIGHTS["said"], WEIGHTS["letter"]])
    digit = torch.isin(batch.labels[0], digits) & ~torch.isin(batch.weights[0], words)
    last = digit & ~torch.cat([digit[1:], torch.tensor([False])])
    thousandths = family.family.coordinates == "relative_1000"
    weight = torch.where(last & thousandths, WEIGHTS["thousandth"], WEIGHTS["coordinate"])
    torch.testing.assert_close(batch.weights[0][digit], weight[digit])
    assert (digit & ~last).any()


def test_letters_weigh_more_than_what_stands_around_them(family: TinyFamily, processor: Any) -> None:
    """Digits among them are no places."""
    tokenizer, roles = processor.tokenizer, TokenRoles(processor.tokenizer)
    expected = Expected(texts=(("K7", (10, 20, 30, 40)),))
    reply = tokenizer.encode(render_reply(expected, chinese=False) + REPLY_END, add_special_tokens=False)
    pointers = Pointers(tokenizer, roles).of_image(reply, expected, family.view(IMAGE_WH))
    weights = list_weights(reply, pointers, roles, thousandths=False)
    letters = "".join(tokenizer.decode([reply[at]]) for at in np.flatnonzero(weights == WEIGHTS["letter"]))
    assert letters == "K7"
    assert max(weights[~roles.in_text(reply)]) < WEIGHTS["letter"]


@pytest.mark.parametrize(
    ("reply", "decides"),
    [
        ("No, there is a red cart.", "No"),
        ("There is a red cart.", "There"),
        (
            '```json\n[\n{"start_time": "00:01.00", "end_time": "00:02.00", "description": "the red cart"}\n]\n```',
            "\n[",
        ),
    ],
)
def test_one_token_of_a_sentence_decides(processor: Any, reply: str, decides: str) -> None:
    """The first one, or in a list of times its opening."""
    tokens = processor.tokenizer.encode(reply, add_special_tokens=False)
    weights = sentence_weights(tokens, TokenRoles(processor.tokenizer))
    (at,) = np.flatnonzero(weights == WEIGHTS["decision"])
    before = processor.tokenizer.decode(tokens[:at])
    assert reply[len(before) :].startswith(decides)
    said = {processor.tokenizer.decode([tokens[i]]).strip() for i in np.flatnonzero(weights == WEIGHTS["said"])}
    assert {"red", "cart"} <= said


def test_of_the_digits_of_a_time_those_count_that_tell_times_apart(processor: Any) -> None:
    reply = processor.tokenizer.encode("It moves from 00:01.50", add_special_tokens=False)
    roles = TokenRoles(processor.tokenizer)
    digits = np.flatnonzero(np.isin(reply, roles.digits))
    telling = np.zeros(len(reply), bool)
    telling[digits[3:5]] = True
    weights = clip_weights(reply, telling, roles)[digits]
    assert weights.tolist() == [WEIGHTS["structure"]] * 3 + [WEIGHTS["word"]] * 2 + [WEIGHTS["structure"]]
