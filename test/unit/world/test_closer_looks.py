"""What is small or unsure -> parts to look at; what was seen there -> the same objects, finer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.types import XYXY, DetectedObject
from vlm_perception.world.closer_looks import MOST_LOOKS, SMALL_PX, CloserLook, merge_look, plan_looks

# A camera image of which the model saw a fifth of each side.
IMAGE: XYXY = (0.0, 0.0, 1000.0, 500.0)
IMAGE_WH, MODEL_WH = (1000, 500), (200, 100)


def thing(x: float, y: float, side: float, label: str = "cup", score: float | None = 0.9) -> DetectedObject:
    half = side / 2
    return DetectedObject(label, (x - half, y - half, x + half, y + half), None, score=score)


LARGE, SMALL, UNSURE = thing(300, 250, 200), thing(800, 100, 40), thing(500, 250, 120, score=0.1)
POINT = DetectedObject("handle", None, (500.0, 250.0), score=0.9)

# objects -> for which of them each look is
PLANNED = [
    ([], []),
    ([LARGE], []),
    ([thing(300, 250, 82)], []),  # 16.4 pixels of the model
    ([thing(300, 250, 78)], [(0,)]),
    ([LARGE, SMALL], [(1,)]),
    ([UNSURE], [(0,)]),
    ([replace(LARGE, score=0.1)], []),  # it would fill more than half of what was seen
    ([thing(300, 250, 40, score=None)], [(0,)]),
    ([POINT], []),
    ([replace(POINT, score=0.1)], [(0,)]),
    ([SMALL, thing(840, 120, 30)], [(0, 1)]),
    ([SMALL, thing(60, 400, 30)], [(0,), (1,)]),
    ([SMALL, thing(60, 60, 30), thing(60, 440, 30), thing(90, 430, 30)], [(2, 3, 1), (0,)]),
    ([DetectedObject("cup", None, None)], []),
]


@pytest.mark.parametrize(("objects", "meant"), PLANNED)
def test_small_and_unsure_things_are_looked_at_together_where_they_are_near(
    objects: list[DetectedObject], meant: list[tuple[int, ...]]
) -> None:
    looks = plan_looks(objects, IMAGE, MODEL_WH)
    assert sorted(sorted(look.meant) for look in looks) == sorted(sorted(each) for each in meant)


def test_only_so_many_parts_are_looked_at_those_with_most_things_first() -> None:
    scattered = [thing(60, 60, 30), thing(940, 60, 30), thing(60, 440, 30), thing(940, 440, 30), thing(900, 440, 30)]
    looks = plan_looks(scattered, IMAGE, MODEL_WH)
    assert len(looks) == MOST_LOOKS
    assert set(looks[0].meant) > {3, 4}


boxes = st.builds(
    lambda x, y, w, h, score: DetectedObject(
        "cup", (x, y, min(x + w, 960.0), min(y + h, 480.0)), None, score=score
    ),
    st.floats(40, 900), st.floats(20, 440), st.floats(1, 400), st.floats(1, 400), st.floats(0, 1) | st.none(),
)  # fmt: skip


@given(st.lists(boxes, max_size=12))
def test_every_look_is_a_real_gain_inside_of_what_was_seen_and_holds_what_it_is_for(
    objects: list[DetectedObject],
) -> None:
    seen: XYXY = (40.0, 20.0, 960.0, 480.0)
    looks = plan_looks(objects, seen, MODEL_WH)
    assert len(looks) <= MOST_LOOKS
    for look in looks:
        left, top, right, bottom = look.xyxy
        assert seen[0] - 1e-6 <= left < right <= seen[2] + 1e-6
        assert seen[1] - 1e-6 <= top < bottom <= seen[3] + 1e-6
        assert (right - left) * (bottom - top) <= 0.501 * 920 * 460
        for index in look.meant:
            xyxy = objects[index].xyxy
            assert xyxy is not None
            inside = (left <= xyxy[0] + 1e-6, top <= xyxy[1] + 1e-6, xyxy[2] <= right + 1e-6, xyxy[3] <= bottom + 1e-6)
            assert all(inside)
            size = math.sqrt((xyxy[2] - xyxy[0]) * 200 / 920 * (xyxy[3] - xyxy[1]) * 100 / 460)
            score = objects[index].score
            assert size < SMALL_PX + 1e-6 or (score is not None and score < 0.3)


LOOK = CloserLook((600.0, 0.0, 1000.0, 200.0), (1,))
FINER = thing(803, 102, 36, "blue cup", 0.8)

# what the closer look finds -> what is known then
MERGED = [
    ([], [LARGE, SMALL]),
    ([FINER], [LARGE, replace(FINER, span=SMALL.span)]),
    # A neighbour that is new, and one more box of the same.
    ([FINER, thing(900, 100, 30)], [LARGE, FINER, thing(900, 100, 30)]),
    ([FINER, thing(805, 103, 36, "blue cup")], [LARGE, FINER]),
    # Cut by an inner edge of the look: nobody knows how large it is. At the image's own edge it is whole.
    ([FINER, DetectedObject("cup", (600.0, 50.0, 640.0, 90.0), None)], [LARGE, FINER]),
    ([FINER, thing(985, 15, 30)], [LARGE, FINER, thing(985, 15, 30)]),
]


@pytest.mark.parametrize(("closer", "known"), MERGED)
def test_a_closer_look_changes_what_it_is_for_and_adds_what_is_new(
    closer: list[DetectedObject], known: list[DetectedObject]
) -> None:
    assert list(merge_look([LARGE, SMALL], LOOK, closer, IMAGE, IMAGE_WH)) == known


def test_a_large_thing_keeps_its_place_whatever_a_look_at_its_neighbour_sees_of_it() -> None:
    large = thing(760, 100, 150)
    piece = DetectedObject("cup", (690.0, 30.0, 830.0, 170.0), None, score=0.99)
    assert merge_look([large, SMALL], LOOK, [piece], IMAGE, IMAGE_WH)[0] is large
    # A cup on a plate is no piece of the plate.
    on_it = thing(700, 60, 30, "spoon")
    assert merge_look([large, SMALL], LOOK, [piece, on_it], IMAGE, IMAGE_WH)[2:] == (on_it,)


def test_places_in_the_first_reply_and_ids_stay() -> None:
    before = replace(SMALL, span=(7, 20), id="cups/3")
    (_, after) = merge_look([LARGE, before], LOOK, [replace(FINER, span=(1, 4))], IMAGE, IMAGE_WH)
    assert (after.span, after.id, after.label, after.xyxy) == ((7, 20), "cups/3", "blue cup", FINER.xyxy)
