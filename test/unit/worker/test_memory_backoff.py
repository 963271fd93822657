"""Fewer pixels after memory ran out: never out of bounds, and always back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.families import intersect_budgets, plan_resize
from vlm_perception.settings import LARGEST_AREA_PX, SMALLEST_AREA_PX
from vlm_perception.types import WH, PixelBudget
from vlm_perception.worker.memory_backoff import FIRST_PATIENCE, MOST_PATIENCE, AreaOf, MemoryBackoff, PixelLimit

ASKED = PixelBudget(224 * 224, 1024 * 1024)
ANY_SIZE = PixelBudget(SMALLEST_AREA_PX, LARGEST_AREA_PX)
HD = (1280, 720)
HD_SEEN = 1288 * 728


def seen(image_wh: WH, own: PixelBudget = ANY_SIZE) -> AreaOf:
    """How many pixels of a camera's image a checkpoint with these bounds sees."""
    return lambda budget: math.prod(plan_resize(image_wh, intersect_budgets(budget, own), cell_px=28))


def good(relief: MemoryBackoff, count: int) -> list[bool]:
    return [relief.note_good_answer() for _ in range(count)]


def test_without_trouble_what_is_asked_for_is_in_force() -> None:
    relief = MemoryBackoff()
    assert not any(good(relief, 5 * FIRST_PATIENCE))
    assert (relief.fit(ASKED), relief.lowered) == (ASKED, None)


def test_half_of_what_was_seen_and_not_of_what_was_allowed() -> None:
    relief = MemoryBackoff()
    assert relief.lower(ASKED, seen(HD)) == PixelBudget(224 * 224, HD_SEEN // 2)
    assert relief.lowered == PixelLimit(HD_SEEN // 2, HD_SEEN)
    assert relief.fit(ASKED).max_pixels == HD_SEEN // 2
    # A camera with small images has nothing to fear from it, and a lower setting stays.
    assert relief.fit(PixelBudget(4000, 5000)) == PixelBudget(4000, 5000)


def test_the_minimum_gives_way() -> None:
    relief = MemoryBackoff()
    asked = PixelBudget(300_000, 400_000)
    smaller = relief.lower(asked, seen((60, 40)))
    assert smaller is not None
    assert smaller.min_pixels <= smaller.max_pixels < 200_000
    assert seen((60, 40))(smaller) <= smaller.max_pixels


def test_it_climbs_back_by_doubling() -> None:
    relief = MemoryBackoff()
    for _ in range(2):
        relief.lower(ASKED, seen(HD))
    lowest = relief.fit(ASKED).max_pixels
    assert good(relief, FIRST_PATIENCE) == [False] * (FIRST_PATIENCE - 1) + [True]
    assert relief.fit(ASKED).max_pixels == 2 * lowest
    good(relief, 2 * FIRST_PATIENCE)
    assert (relief.lowered, relief.fit(ASKED)) == (None, ASKED)


def test_each_climb_that_fails_doubles_the_patience_and_a_long_peace_restores_it() -> None:
    relief = MemoryBackoff()
    relief.lower(ASKED, seen(HD))
    assert relief.patience == FIRST_PATIENCE, "the first lack of memory was no climb"
    for failed in range(1, 4):
        good(relief, relief.patience)
        relief.lower(ASKED, seen(HD))
        assert relief.patience == FIRST_PATIENCE * 2**failed
    relief.lower(ASKED, seen(HD))
    assert relief.patience == FIRST_PATIENCE * 8, "lowered twice in a row is not a second climb"
    while relief.lowered:
        relief.note_good_answer()
    good(relief, 8 * FIRST_PATIENCE)
    assert relief.patience == FIRST_PATIENCE


def test_a_lack_of_memory_starts_the_count_again() -> None:
    relief = MemoryBackoff()
    relief.lower(ASKED, seen(HD))
    good(relief, FIRST_PATIENCE - 1)
    relief.lower(ASKED, seen(HD))
    assert not any(good(relief, FIRST_PATIENCE - 1))


@pytest.mark.parametrize(
    ("image_wh", "own"),
    [
        ((56, 56), PixelBudget(SMALLEST_AREA_PX, SMALLEST_AREA_PX)),  # the smallest area of the family
        (HD, PixelBudget(600_000, 2_000_000)),  # a checkpoint would show all it takes instead of less
        (HD, PixelBudget(HD_SEEN, HD_SEEN)),  # or always the same
        ((28 * 190, 28), ANY_SIZE),  # thin: a row of cells is the least
    ],
)
def test_what_cannot_be_smaller_is_left_as_it_is(image_wh: WH, own: PixelBudget) -> None:
    relief, asked = MemoryBackoff(), PixelBudget(SMALLEST_AREA_PX, 1024 * 1024)
    area_of = seen(image_wh, own)
    while (before := relief.fit(asked)) and relief.lower(asked, area_of) is not None:
        assert area_of(relief.fit(asked)) < area_of(before)
    assert relief.fit(asked) == before
    assert before.max_pixels >= SMALLEST_AREA_PX


_areas = st.integers(SMALLEST_AREA_PX, LARGEST_AREA_PX)
_budgets = st.tuples(_areas, _areas).map(lambda pair: PixelBudget(min(pair), max(pair)))
_images = st.tuples(st.integers(20, 4000), st.integers(20, 4000))
_events = st.lists(st.one_of(st.tuples(_budgets, _images), st.integers(1, 40)), max_size=30)


@given(_events, _budgets, _budgets)
def test_never_above_the_setting_never_below_the_smallest_and_always_back(
    events: list[tuple[PixelBudget, WH] | int], asked: PixelBudget, own: PixelBudget
) -> None:
    relief = MemoryBackoff()
    for event in events:
        if isinstance(event, int):
            good(relief, event)
        else:
            setting, image_wh = event
            before_px = seen(image_wh, own)(relief.fit(setting))
            smaller = relief.lower(setting, seen(image_wh, own))
            if smaller is not None:
                assert smaller == relief.fit(setting)
                assert seen(image_wh, own)(smaller) <= max(before_px // 2, SMALLEST_AREA_PX)
        fitted = relief.fit(asked)
        assert SMALLEST_AREA_PX <= fitted.min_pixels <= fitted.max_pixels <= asked.max_pixels
        assert fitted.min_pixels <= asked.min_pixels
        assert FIRST_PATIENCE <= relief.patience <= MOST_PATIENCE
    doublings = math.ceil(math.log2(LARGEST_AREA_PX / SMALLEST_AREA_PX)) + 1
    for _ in range(doublings * relief.patience):
        relief.note_good_answer()
    assert (relief.lowered, relief.fit(asked)) == (None, asked)
