"""What the training heads' boxes are held to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from one_scene import one_scene

from training.batches import BatchMaker
from training.dense_targets import HAS_STOPPED, dense_targets
from training.families import TINY_FAMILIES, TinyFamily
from training.forward import run
from training.heads import COLOUR_CLASSES, LETTER_CLASSES, MOTION_CLASSES, DenseHeads, _box_loss, _told, pointer_loss
from vlm_perception.scenes import Truth


def loss(found: list[list[float]], wanted: list[list[float]], told: list[float]) -> float:
    return float(_box_loss(torch.tensor(found), torch.tensor(wanted), torch.tensor(told), scale=1.0, beta=0.05))


def test_the_same_error_is_worse_of_a_small_or_flat_thing() -> None:
    of_large, of_small, of_flat = (
        loss([[0.0, 0.0, width, height + 0.2]], [[0.0, 0.0, width, height]], [1.0])
        for width, height in ((4.0, 4.0), (0.5, 0.5), (4.0, 0.5))
    )
    assert of_small == pytest.approx(of_flat)
    assert of_small > 2 * of_large


def test_the_box_that_a_reply_is_read_from_counts_most() -> None:
    truth = Truth("red cart", (80.0, 80.0, 180.0, 170.0), {"pattern": "plain"})
    dense = dense_targets([[truth]], TINY_FAMILIES["qwen2_5_vl"].view((320, 240)))
    there = dense.kind > 0
    told, is_centre = _told(dense)[there].tolist(), dense.is_centre[there].tolist()
    assert len(told) > 2
    right, wrong = [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.5, 1.5]

    def of_one_wrong(place: int) -> float:
        return loss([wrong if index == place else right for index in range(len(told))], [right] * len(told), told)

    centre = is_centre.index(1.0)
    assert all(of_one_wrong(centre) > 5 * of_one_wrong(place) for place in range(len(told)) if place != centre)


def test_edges_the_wrong_way_round_and_no_edges_are_numbers() -> None:
    assert loss([[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]], [1.0]) > 0
    nothing = torch.zeros(0, 4)
    assert float(_box_loss(nothing, nothing, torch.zeros(0), scale=1.0, beta=0.05)) == 0.0


@pytest.mark.parametrize(
    ("what", "first", "wanted"),
    [("letters", 0, 3), ("motion", 2 * LETTER_CLASSES, 2), ("phase", 2 * LETTER_CLASSES + MOTION_CLASSES, HAS_STOPPED)],
)
def test_the_decoder_is_held_to_letters_motion_and_its_phase(what: str, first: int, wanted: int) -> None:
    """Whoever says what is there is better off; only the left half of each token has a letter."""
    family = TINY_FAMILIES["qwen2_5_vl"]
    heads, dense = DenseHeads(8, family), dense_targets([[]], family.view((320, 240)))
    targets = getattr(dense, what)
    targets[..., 0] = wanted if what == "letters" else targets[..., 0]
    there = replace(dense, **{what: targets if what == "letters" else torch.full_like(targets, wanted)})
    hidden = torch.zeros(*dense.kind.shape, 8)

    def loss_of_saying(index: int) -> float:
        with torch.no_grad():
            heads.kept.bias.zero_()
            heads.kept.bias[first + index] = 4.0
            return float(heads._kept_loss(hidden, there))

    assert loss_of_saying(wanted) < loss_of_saying(0) - 2


def test_the_box_of_a_text_is_asked_of_vision_and_of_the_decoder() -> None:
    """Of nothing it is a number too, and only where a text is does it count."""
    family = TINY_FAMILIES["qwen2_5_vl"]
    heads, view = DenseHeads(8, family), family.view((320, 240))
    truth = Truth(
        "red cart", (80.0, 80.0, 180.0, 170.0), {"pattern": "plain"}, (), ("K7", (100.0, 100.0, 160.0, 130.0))
    )
    for truths, is_asked in (([truth], True), ([replace(truth, text=None)], False)):
        dense = dense_targets([truths], view)
        hidden, middle = torch.zeros(*dense.kind.shape, 8), torch.zeros(*dense.kind.shape, 4)
        losses = heads._vision_loss(hidden, dense, middle), heads._place_loss(hidden, dense)
        for head, loss in zip((heads.text_edges, heads.text_place), losses, strict=True):
            assert torch.isfinite(loss)
            head.zero_grad()
            loss.backward()
            assert bool(head.bias.grad.abs().sum() > 0) is is_asked


def test_colour_and_kind_are_asked_for_together() -> None:
    """Whoever says "blue cart" of a red one errs, though half of it is right."""
    family = TINY_FAMILIES["qwen2_5_vl"]
    heads = DenseHeads(8, family)
    dense = dense_targets([[Truth("red cart", (80.0, 80.0, 180.0, 170.0))]], family.view((320, 240)))
    hidden, covered = torch.zeros(*dense.kind.shape, 8), dense.kind > 0
    kind, colour = int(dense.kind[covered][0]), int(dense.colour[covered][0])
    hidden[covered] = 1.0

    def loss_of_saying(colour: int) -> float:
        with torch.no_grad():
            heads.label.weight.zero_()
            heads.label.weight[kind * COLOUR_CLASSES + colour] = 1.0
            return float(heads._place_loss(hidden, dense))

    assert loss_of_saying(colour) < loss_of_saying(colour % 7 + 1) - 0.1


@pytest.mark.parametrize(("whose", "layers"), [("question", [3, 4]), ("reply", [4, 5])])
def test_what_a_question_names_is_looked_for_before_the_reply_is(
    whose: str, layers: list[int], family: TinyFamily, processor: Any
) -> None:
    """A layer later the reply can ask the question's tokens what they found; each look is held where it is made."""
    torch.manual_seed(0)
    model = family.build_model(processor.tokenizer)
    batch, _ = BatchMaker(processor.tokenizer, np.random.default_rng(3)).make(one_scene(2, family), 384)
    in_reply = batch.labels >= 0
    asked = in_reply if whose == "reply" else (batch.segments > 0) & ~in_reply
    pointers = torch.full_like(batch.pointers, -1).masked_fill(asked, 0)
    hidden = run(model, batch)
    hidden = replace(hidden, layers=[layer.detach() for layer in hidden.layers])
    decoder, config = model.model.language_model.layers, model.config
    pointer_loss(
        decoder, hidden, replace(batch, pointers=pointers), config.image_token_id, config.vision_end_token_id
    ).backward()
    assert [i for i, layer in enumerate(decoder) if layer.self_attn.q_proj.weight.grad is not None] == layers
