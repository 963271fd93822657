"""What a token decides is what it counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from one_scene import OneScene

from training.batches import BatchMaker
from training.families import TinyFamily
from training.loss_weights import WEIGHTS, clip_weights, sentence_weights
from training.token_roles import TokenRoles


def test_the_last_digit_of_a_thousandth_weighs_little(family: TinyFamily, processor: Any) -> None:
    """It is a quarter of a pixel; the last digit of a pixel counts as the others do."""
    batch, _ = BatchMaker(processor.tokenizer, np.random.default_rng(3)).make(OneScene(2, family), 1, 384)
    digits = torch.tensor([processor.tokenizer.convert_tokens_to_ids(str(d)) for d in range(10)])
    # A number in a sentence is a word.
    words = torch.tensor([WEIGHTS["word"], WEIGHTS["said"]])
    digit = torch.isin(batch.labels[0], digits) & ~torch.isin(batch.weights[0], words)
    last = digit & ~torch.cat([digit[1:], torch.tensor([False])])
    thousandths = family.family.coordinates == "relative_1000"
    weight = torch.where(last & thousandths, WEIGHTS["thousandth"], WEIGHTS["coordinate"])
    torch.testing.assert_close(batch.weights[0][digit], weight[digit])
    assert (digit & ~last).any()


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
