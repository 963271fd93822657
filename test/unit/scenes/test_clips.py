"""Clips: what is said to have happened is what the frames show."""

from __future__ import annotations

import numpy as np
import pytest

from vlm_perception.scenes.clips import DrawnClip

IMAGE_WH = (320, 240)
DURATION_S = 6.0


def centre(clip: DrawnClip, label: str, time_s: float) -> tuple[float, float] | None:
    """Where a thing is seen, in pixels."""
    boxes = [truth.xyxy for truth in clip.at(time_s).truths if truth.label == label]
    return ((boxes[0][0] + boxes[0][2]) / 2, (boxes[0][1] + boxes[0][3]) / 2) if boxes else None


@pytest.mark.parametrize("seed", range(12))
def test_things_move_come_and_leave_when_and_where_the_truth_says(seed: int) -> None:
    clip = DrawnClip(np.random.default_rng(seed), IMAGE_WH, DURATION_S)
    for one in clip.happenings:
        assert 0 < one.start_s < one.end_s <= DURATION_S
        before, after = centre(clip, one.label, one.start_s - 0.05), centre(clip, one.label, one.end_s + 0.05)
        assert (before is not None, after is not None) == (one.what != "comes", one.what != "leaves")
        early, late = (one.start_s + share * (one.end_s - one.start_s) for share in (0.45, 0.55))
        (x1, y1), (x2, y2) = centre(clip, one.label, early), centre(clip, one.label, late)  # type: ignore[misc]
        across, down = x2 - x1, y2 - y1
        moved = {"left": -across, "right": across, "up": -down, "down": down}
        assert max(moved, key=moved.__getitem__) == one.direction
        if before is not None:
            assert centre(clip, one.label, 0.0) == pytest.approx(before, abs=1.0)


def test_a_clip_repeats_itself_and_some_are_still() -> None:
    first, again = (DrawnClip(np.random.default_rng(5), IMAGE_WH, DURATION_S) for _ in range(2))
    assert first.happenings == again.happenings
    assert np.array_equal(first.at(2.5).rgb, again.at(2.5).rgb)
    kinds = {len(DrawnClip(np.random.default_rng(seed), IMAGE_WH, DURATION_S).happenings) for seed in range(40)}
    assert kinds == {0, 1, 2}


@pytest.mark.parametrize("duration_s", [1.5, 3.0, 8.0])
def test_everything_happens_within_the_clip(duration_s: float) -> None:
    for seed in range(30):
        for one in DrawnClip(np.random.default_rng(seed), IMAGE_WH, duration_s).happenings:
            assert 0 < one.start_s < one.end_s <= duration_s
