"""How large a model family sees an image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.engines.families import FAMILIES, intersect_budgets, plan_resize
from vlm_perception.errors import GeometryError
from vlm_perception.settings import parameters
from vlm_perception.types import PixelBudget

BUDGET = PixelBudget(224 * 224, 1024 * 1024)

# image (width, height), budget, processed (width, height)
PLANS = [
    ((640, 480), BUDGET, (644, 476)),  # nearest multiples of 28, no bound met
    ((1920, 1080), BUDGET, (1344, 756)),  # over the maximum: rounded down
    ((100, 50), BUDGET, (336, 168)),  # under the minimum: rounded up
    ((42, 70), PixelBudget(784, 10**6), (56, 56)),  # half cells go to even, as Python rounds
    ((5, 5), PixelBudget(784, 10**6), (28, 28)),  # rounds to no cell at all, then up
    ((2000, 10), PixelBudget(3136, 50176), (812, 28)),  # thin: one side rounds to nothing, then both up
    ((20000, 100), PixelBudget(3136, 50176), (3164, 28)),  # thin and large: a side never shrinks to nothing
]


@pytest.mark.parametrize(("image_wh", "budget", "planned_wh"), PLANS)
def test_plan_follows_the_family_rule(
    image_wh: tuple[int, int], budget: PixelBudget, planned_wh: tuple[int, int]
) -> None:
    assert plan_resize(image_wh, budget, cell_px=28) == planned_wh


@pytest.mark.parametrize(
    ("image_wh", "budget", "named"),
    [
        ((0, 480), BUDGET, "0x480"),  # empty image
        ((640, -1), BUDGET, "640x-1"),
        ((4020, 20), BUDGET, "201.0"),  # just over the limit of 200
        ((640, 480), PixelBudget(10, 5), "max_pixels 5"),  # contradicting bounds
    ],
)
def test_impossible_sizes_name_value_and_limit(image_wh: tuple[int, int], budget: PixelBudget, named: str) -> None:
    with pytest.raises(GeometryError, match=named):
        plan_resize(image_wh, budget, cell_px=28)


def test_aspect_ratio_of_exactly_200_is_accepted() -> None:
    assert plan_resize((4000, 20), BUDGET, cell_px=28)


def test_budgets_intersect_and_the_checkpoint_wins_where_they_do_not_meet() -> None:
    own = PixelBudget(30_000, 40_000)
    assert intersect_budgets(PixelBudget(35_000, 10**6), own) == PixelBudget(35_000, 40_000)
    assert intersect_budgets(PixelBudget(50_000, 10**6), own) == own
    assert intersect_budgets(PixelBudget(3_136, 10_000), own) == own


# Nearer bounds may have no whole cells between them.
budgets = st.tuples(st.integers(784, 10**6), st.integers(4, 40)).map(lambda b: PixelBudget(b[0], b[0] * b[1]))


@given(st.integers(1, 8000), st.floats(1, 200), st.booleans(), budgets)
def test_planned_sides_are_whole_cells_within_the_budget(
    short: int, ratio: float, upright: bool, budget: PixelBudget
) -> None:
    image_wh = (short, int(short * ratio))
    planned = plan_resize(image_wh if upright else image_wh[::-1], budget, cell_px=28)
    assert all(side >= 28 and side % 28 == 0 for side in planned)
    # A side is never less than one cell, which a thin image pays for with more area.
    assert planned[0] * planned[1] <= budget.max_pixels or min(planned) == 28


def test_a_served_model_may_be_of_every_family() -> None:
    choices = next(each.choices for each in parameters() if each.name == "model_family")
    assert set(choices) == {"auto", *FAMILIES}
