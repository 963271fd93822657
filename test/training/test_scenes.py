"""What a step draws to learn from."""

from __future__ import annotations

import numpy as np
import pytest

from training import scenes
from training.families import TINY_FAMILIES
from training.scenes import draw_scenes

FAMILY = TINY_FAMILIES["qwen2_5_vl"]


@pytest.mark.parametrize(("small", "least", "most"), [(0.0, 10, 12), (1.0, 0, 8)], ids=["large", "small"])
def test_letters_are_drawn_on_purpose_only_where_they_can_be_read(
    small: float, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that another thing hides count as none."""
    monkeypatch.setattr(scenes, "SMALL_SHARE", small)
    monkeypatch.setattr(scenes, "LETTERED_SHARE", 1.0)
    drawn = draw_scenes(np.random.default_rng(3), 12, FAMILY)
    lettered = [any(truth.text is not None for truth in truths) for truths in drawn.truths]
    assert least <= sum(lettered) <= most


def test_no_more_things_are_drawn_than_the_curriculum_allows() -> None:
    drawn = draw_scenes(np.random.default_rng(0), 12, FAMILY, most=2)
    assert max(sum(truth.label != "shadow" for truth in truths) for truths in drawn.truths) == 2
    width, height = drawn.view.model_wh
    assert drawn.pixels.shape == (12, height, width, 3)
