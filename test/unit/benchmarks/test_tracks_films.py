"""The rendered films of `benchmarks.tracks`: their truth is what can be seen, and they move as they say."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.tracks.films import KINDS, RATE_HZ, Film, Shot

SMALL_WH = (320, 180)
# Blur and noise at the edge of a thing, pixels.
CLOSE_PX = 3.0


def film(kind: str, objects: int, seed: int = 0, seconds: float = 0.2) -> Film:
    return Film(kind, objects, seed, seconds, SMALL_WH)


def shots(of: Film) -> list[Shot]:
    return list(of.shots())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(kind: str) -> None:
    first, again, other = (shots(film(kind, 3, seed)) for seed in (4, 4, 5))
    assert all(
        np.array_equal(a.frame.rgb, b.frame.rgb) and a.truth == b.truth for a, b in zip(first, again, strict=True)
    )
    assert not np.array_equal(first[0].frame.rgb, other[0].frame.rgb)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_the_true_box_bounds_what_a_thing_changes_in_the_picture(kind: str, seed: int) -> None:
    with_it, without = film(kind, 1, seed), film(kind, 1, seed)
    without._sprites, without._paths = [], []
    for shot, empty in zip(shots(with_it), shots(without), strict=True):
        changed = np.abs(shot.frame.rgb.astype(int) - empty.frame.rgb.astype(int)).max(-1) > 8
        columns, rows = np.flatnonzero(changed.any(0)), np.flatnonzero(changed.any(1))
        (true,) = shot.truth
        seen = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(true.xyxy, seen, atol=CLOSE_PX)


def test_a_thing_that_is_hidden_by_a_nearer_one_is_not_in_the_truth() -> None:
    two = film("flat", 2)
    two._paths[0], two._sprites[0] = two._paths[1], two._sprites[1]
    assert {true.id for shot in shots(two) for true in shot.truth} == {1}


@pytest.mark.parametrize(("share_out", "there"), [(0.4, True), (0.9, False)])
def test_a_thing_that_is_nearly_outside_is_not_in_the_truth(share_out: float, there: bool) -> None:
    one = film("textured", 1)
    wide = one._sprites[0].rgba.shape[0] / 1.1
    path = one._paths[0]
    where = np.tile([wide * (0.5 - share_out), SMALL_WH[1] / 2], (one.frames, 1))
    one._paths[0] = replace(path, centres_xy=where, angles=0 * path.angles, sizes=1 + 0 * path.sizes)
    boxes = [true.xyxy for shot in shots(one) for true in shot.truth]
    assert len(boxes) == (one.frames if there else 0)
    assert all(left == 0.0 for left, *_ in boxes)


@pytest.mark.parametrize(("absent_s", "ids"), [(0.5, [0]), (1.5, [0, 1])])
def test_a_thing_that_was_long_out_of_view_comes_back_as_another(absent_s: float, ids: list[int]) -> None:
    one = film("flat", 1, seconds=2.0)
    centres = np.tile(np.array(SMALL_WH) / 2.0, (one.frames, 1))
    centres[3 : 3 + round(absent_s * RATE_HZ)] = -1000.0
    one._paths[0] = replace(one._paths[0], centres_xy=centres)
    assert sorted({true.id for shot in shots(one) for true in shot.truth}) == ids


@pytest.mark.parametrize("seed", range(5))
def test_things_and_camera_move_as_the_page_says(seed: int) -> None:
    long = Film("flat", 2, seed, 10.0, (1280, 720))
    moved = np.diff(long._camera_xy, axis=0) * RATE_HZ
    assert np.hypot(*moved.T).max() <= 350.0
    for path in long._paths:
        speeds = np.hypot(*np.diff(path.centres_xy + long._camera_xy, axis=0).T) * RATE_HZ
        assert 45.0 < np.median(speeds) < 205.0
        growth = np.abs(np.diff(np.log(path.sizes))) * RATE_HZ
        assert growth.max() <= 0.2 + 1e-6
        assert np.degrees(np.ptp(path.angles)) <= 20.0


def test_frames_are_a_thirtieth_of_a_second_apart() -> None:
    taken = shots(film("flat", 1))
    for a, b in pairwise(taken):
        assert b.frame.received_s - a.frame.received_s == pytest.approx(1 / RATE_HZ)
        stamps_s = [each.frame.header.stamp_sec + 1e-9 * each.frame.header.stamp_nanosec for each in (a, b)]
        assert stamps_s[1] - stamps_s[0] == pytest.approx(1 / RATE_HZ, abs=1e-6)
