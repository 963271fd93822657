"""Our plan of the processed size is the one transformers and qwen_vl_utils would make."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from qwen_vl_utils import vision_process
from transformers.models.qwen2_vl import image_processing_qwen2_vl

from vlm_perception.engines.families import plan_resize
from vlm_perception.errors import GeometryError
from vlm_perception.types import PixelBudget

sides = st.integers(1, 6000)
areas = st.integers(3136, 16384 * 784)


@given(sides, sides, areas, areas)
@example(640, 480, 224 * 224, 1024 * 1024)
@example(42, 70, 3136, 10**6)
@example(20000, 100, 3136, 50176)
def test_plan_is_that_of_transformers(width: int, height: int, one: int, other: int) -> None:
    budget = PixelBudget(min(one, other), max(one, other))
    try:
        planned = plan_resize((width, height), budget, cell_px=28)
    except GeometryError:
        with pytest.raises(ValueError, match="aspect ratio"):
            image_processing_qwen2_vl.smart_resize(height, width, 28, budget.min_pixels, budget.max_pixels)
        return
    theirs = image_processing_qwen2_vl.smart_resize(height, width, 28, budget.min_pixels, budget.max_pixels)
    assert planned == theirs[::-1]


@given(sides, sides, areas, areas)
def test_plan_is_that_of_qwen_vl_utils(width: int, height: int, one: int, other: int) -> None:
    budget = PixelBudget(min(one, other), max(one, other))
    assume(max(width, height) / min(width, height) <= 200)
    theirs = vision_process.smart_resize(height, width, 28, budget.min_pixels, budget.max_pixels)
    # It lets a thin side shrink to nothing, and rounds tiny sides up first; transformers does neither.
    assume(min(theirs) > 0)
    assume(min(width, height) > 14)
    assert plan_resize((width, height), budget, cell_px=28) == theirs[::-1]
