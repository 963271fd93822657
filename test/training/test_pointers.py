"""Each token of a reply looks at the image token that it can be read from."""

from __future__ import annotations

from typing import Any

import numpy as np
from one_scene import IMAGE_WH, one_scene

from training.batches import BatchMaker
from training.families import TinyFamily
from training.pointers import REPLY_END, Pointers
from training.questions import Asker
from training.replies import Expected, render_reply
from training.things import objects_of, things_of
from training.token_roles import TokenRoles


def test_the_thing_that_a_sentence_names_is_the_one_to_look_at(family: TinyFamily, processor: Any) -> None:
    """Each word of a thing's name points to its centre, and a "no" to the null token."""
    scene, tokenizer = one_scene(2, family), processor.tokenizer
    pointing, asker = Pointers(tokenizer, TokenRoles(tokenizer)), Asker(np.random.default_rng(4))
    down, across = scene.view.grid_hw
    centres = {}
    for thing in objects_of(things_of(scene.truths[0], scene.view)):
        x, y = (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2
        width, height = scene.view.reply_wh
        centres[thing.label] = int(y * down // height) * across + int(x * across // width)
    named = refused = 0
    for task in ("describe", "exists", "related") * 8:
        asked = asker.ask(scene.truths[0], scene.view, task)
        reply = tokenizer.encode(asked.reply + REPLY_END)
        pointers = pointing.of_image(reply, asked.expected, scene.view).tolist()
        pieces = [tokenizer.decode([token]) for token in reply]
        refused += pieces[0] == "No" and pointers[0] == down * across
        for at in range(1, len(pieces)):
            label = "".join(pieces[at : at + 2]).strip()
            if label in centres and not asked.chinese:
                assert pointers[at : at + 2] == [centres[label]] * 2, asked.reply
                named += 1
    assert named > 10
    assert refused > 0


def test_an_object_is_read_at_its_centre_and_the_end_of_a_list_behind_the_image(
    family: TinyFamily, processor: Any
) -> None:
    view, tokenizer = family.view(IMAGE_WH), processor.tokenizer
    roles = TokenRoles(tokenizer)
    (down, across), (width, height) = view.grid_hw, view.reply_wh
    expected = Expected(
        boxes=(("red cart", (0, 0, 10, 10), None), ("face", (width - 10, height - 10, width, height), None))
    )
    reply = tokenizer.encode(render_reply(expected, chinese=False) + REPLY_END, add_special_tokens=False)
    pointers = Pointers(tokenizer, roles).of_image(reply, expected, view)
    first, last, null = 0, down * across - 1, down * across
    assert pointers[np.isin(reply, roles.openers)].tolist() == [first, last]
    # The list begins with the first object; what ends one looks for the next.
    assert pointers[np.isin(reply, roles.deciders)].tolist() == [first, last, null]
    digits = pointers[np.isin(reply, roles.digits)].tolist()
    assert digits == sorted(digits)
    assert set(digits) == {first, last}
    assert pointers[-1] == -1


def test_what_a_question_names_is_looked_for_where_it_names_it(family: TinyFamily, processor: Any) -> None:
    """The token that ends a name looks at the first such thing, or at the null token; in a packed sequence too."""
    scene, tokenizer = one_scene(2, family), processor.tokenizer
    (down, across), (width, height) = scene.view.grid_hw, scene.view.reply_wh
    pointing, asker = Pointers(tokenizer, TokenRoles(tokenizer)), Asker(np.random.default_rng(4))
    centres: dict[str, int] = {}
    for thing in objects_of(things_of(scene.truths[0], scene.view)):
        x, y = (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2
        centres.setdefault(thing.label, int(y * down // height) * across + int(x * across // width))
    asked = [asker.ask(scene.truths[0], scene.view, "two") for _ in range(40)]
    # The vocabulary of this test has Chinese tokens that end two names at once.
    asked = [each for each in asked if not each.chinese]
    seen = []
    for each in asked:
        ids = tokenizer.encode(each.instruction)
        looks = pointing.of_question(each.instruction, each.expected, scene.view)
        assert len(looks) == len(ids)
        for end, _ in each.expected.names:
            name = " ".join(each.instruction[:end].split()[-2:])
            at = next(at for at in range(len(ids)) if name in tokenizer.decode(ids[: at + 1]))
            seen.append(looks[at])
            assert looks[at] == centres.get(name, down * across)
        assert np.count_nonzero(looks >= 0) == len(each.expected.names)
    assert 0 < seen.count(down * across) < len(seen) - 20
    packed = (BatchMaker(tokenizer, np.random.default_rng(seed)).make(scene, 384)[0] for seed in range(8))
    assert any(((batch.pointers >= 0) & (batch.labels == -100)).any() for batch in packed)


def test_letters_are_read_where_they_are_written(family: TinyFamily, processor: Any) -> None:
    """Each letter of a reply has its own image token, that of its place in the text."""
    view, tokenizer = family.view(IMAGE_WH), processor.tokenizer
    width, height = view.reply_wh
    box = (0, 0, width, height // 8)
    expected = Expected(texts=(("K7P", box), ("Z", (0, height // 2, 10, height // 2 + 10))))
    reply = tokenizer.encode(render_reply(expected, chinese=False), add_special_tokens=False)
    roles = TokenRoles(tokenizer)
    pointers, in_text = Pointers(tokenizer, roles).of_image(reply, expected, view), roles.in_text(reply)
    assert [tokenizer.decode([token]) for token, inside in zip(reply, in_text, strict=True) if inside] == list("K7PZ")
    across, down = view.grid_hw[1], view.grid_hw[0]
    thirds = [int((place + 0.5) / 3 * across) for place in range(3)]
    below = int((height // 2 + 5) * down // height) * across
    assert pointers[in_text].tolist() == [*thirds, below]
