"""While it says what happened, the model is shown the thing at the time that it writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.clip_pointers import places_to_look, sight_of
from training.dense_targets import DenseTargets, dense_targets, motion_of, phase_of
from training.families import TINY_FAMILIES, View
from training.watching import ask, render_events, sentence, times
from vlm_perception.scenes import Truth
from vlm_perception.scenes.clips import DrawnClip, Happening

NULL = 99
RED = Happening("red cart", "moves", "right", 1.4, 3.0)
BLUE = Happening("blue face", "leaves", "up", 3.2, 5.1)
EVENTS = render_events([(*times(one), f"the {one.label}") for one in (RED, BLUE)])


@pytest.mark.parametrize(
    ("reply", "looks"),
    [
        (sentence(RED, chinese=False), [("The red cart", 2), ("00:01.50", 1), ("00:03.00", 3), ("<|im_end|>", NULL)]),
        (sentence(RED, chinese=True), [("红色小车", 2), ("00:01.50", 1), ("00:03.00", 3), ("移动", 2)]),
        (
            f"{sentence(RED, chinese=False)} {sentence(BLUE, chinese=False)}",
            [("The red", 2), (" The blue", 5), ("00:03.00", 3), ("00:05.00", 6), ("<|im_end|>", NULL)],
        ),
        (EVENTS, [("```json\n[\n", 2), ("00:01.50", 1), ("red cart", 2), (",\n    {", 5), ("\n]\n", NULL)]),
        (render_events([]), [("```json\n[]\n```", NULL)]),
        ("Nothing moves.", [("Nothing moves.<|im_end|>", NULL)]),
    ],
    ids=["a sentence", "in Chinese", "two sentences", "a list", "an empty list", "nothing"],
)
def test_each_part_of_a_reply_has_its_place(reply: str, looks: list[tuple[str, int]]) -> None:
    things = ((("red", "红"), (1, 2, 3)), (("blue",), (4, 5, 6)))
    sights = [seen for names, seen in things if any(name in reply for name in names)]
    text = f"{reply}<|im_end|>"
    found, telling = places_to_look(text, sights, NULL)
    for part, place in looks:
        at = text.index(part)
        assert set(found[at : at + len(part)].tolist()) == {place}, part
    assert "".join(text[place] for place in telling[:4]) == ("1530" if sights else "")


def test_a_thing_that_is_not_seen_is_not_looked_for() -> None:
    text = sentence(RED, chinese=False)
    assert set(places_to_look(text, [None], NULL)[0].tolist()) == {-1}


def test_every_reply_of_drawn_clips_is_read() -> None:
    """As many things as it says that happened, whatever was asked; the times that it tells are the clip's."""
    rng, told = np.random.default_rng(5), 0
    for number in range(40):
        clip = DrawnClip(rng, (320, 240), 6.0)
        _, expected = ask(clip.happenings, clip.still, rng, chinese=number % 2 == 0)
        sights = [(1, 2, 3)] * len(expected.happenings)
        looks, telling = places_to_look(expected.words, sights, NULL)
        assert len(telling) == 4 * len(sights)
        assert ((looks == NULL).all()) == (not sights)
        told += len(sights)
    assert told > 10


def seen_moving(at: list[tuple[int, int]], one: Happening) -> tuple[View, DenseTargets]:
    """Pairs of frames with a red cart at these places, which does something."""
    view = TINY_FAMILIES["qwen2_5_vl"].view((320, 240))
    pairs = [[Truth("red cart", (x, y, x + 80.0, y + 80.0), {"pattern": "plain"})] if x < 320 else [] for x, y in at]
    dense = dense_targets(pairs, view)
    return view, replace(dense, motion=motion_of(dense, [pairs], [(one,)], view))


# It sets off between the frames of the second pair, and stands when those of the fifth are taken.
MOVES = [(20, 60), (20, 60), (120, 60), (220, 60), (220, 60), (220, 60)], replace(RED, start_s=1.2, end_s=3.6)
LEAVES = [(20, 60), (20, 60), (120, 60), (220, 60), (400, 60), (400, 60)], replace(RED, start_s=1.2, end_s=3.6)


@pytest.mark.parametrize(
    ("clip", "pairs", "x_px"), [(MOVES, [1, 2, 4], [60, 160, 260]), (LEAVES, [1, 2, 3], [60, 160, 260])]
)
def test_a_thing_is_seen_where_it_is_in_the_pairs_in_which_it_moves(
    clip: tuple[list[tuple[int, int]], Happening], pairs: list[int], x_px: list[int]
) -> None:
    """And once it has stopped, which is known when it is seen still; what has left is last seen before."""
    view, dense = seen_moving(*clip)
    seen = sight_of(RED, dense)
    assert seen is not None
    assert [pair for pair, _ in (seen.start, seen.middle, seen.end)] == pairs
    across = view.grid_hw[1]
    places = [divmod(token, across)[1] / across * 320 for _, token in (seen.start, seen.middle, seen.end)]
    assert places == pytest.approx(x_px, abs=320 / across)
    still = replace(dense, motion=torch.zeros_like(dense.motion))
    assert sight_of(RED, still) is None
    assert sight_of(replace(RED, label="blue cart"), dense) is None


@pytest.mark.parametrize(("clip", "phases"), [(MOVES, [0, 1, 2, 2, 3, 0]), (LEAVES, [0, 1, 2, 2, 0, 0])])
def test_what_covers_a_token_is_known_to_begin_to_go_on_or_to_have_stopped(
    clip: tuple[list[tuple[int, int]], Happening], phases: list[int]
) -> None:
    _, dense = seen_moving(*clip)
    phase = phase_of(dense, (clip[1],))
    for pair, wanted in enumerate(phases):
        assert set(phase[pair][dense.kind[pair] > 0].tolist()) <= {wanted}
        assert not phase[pair][dense.kind[pair] == 0].any()
    assert not phase_of(dense, (replace(RED, label="blue cart"),)).any()
