"""The drawn room: depth, boxes and places are of one world, wherever the camera is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from vlm_perception.scenes.world import World, base_at, camera_on, measured
from vlm_perception.world.camera_model import CameraModel

WH = (320, 240)
CAMERA = CameraModel(WH, (280.0, 0.0, 159.5, 0.0, 280.0, 119.5, 0.0, 0.0, 1.0), "plumb_bob", (-0.1, 0.02, 0.0, 0.0))
PIXELS = np.stack(np.meshgrid(np.arange(WH[0]), np.arange(WH[1])), -1).reshape(-1, 2).astype(np.float64)
RAYS = CAMERA.rays_of(PIXELS).reshape(WH[1], WH[0], 3).astype(np.float32)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("time_s", [0.0, 0.6, 1.7])
def test_a_thing_is_seen_where_it_stands_as_far_away_as_it_is(seed: int, time_s: float) -> None:
    pose = camera_on(base_at(time_s, 0.5, 45.0))
    view = World(seed).view(RAYS, pose)
    assert len(view.seen) >= 3
    assert view.rgb.shape == (*view.depth_m.shape, 3) == (240, 320, 3)
    for seen in view.seen:
        corners = [
            seen.board.centre_m + x * seen.board.size_m[0] / 2 * seen.board.across + y * np.array([0.0, 0.0, 1.0])
            for x in (-1, 1)
            for y in (-seen.board.size_m[1] / 2, seen.board.size_m[1] / 2)
        ]
        pixels = CAMERA.project((np.array(corners) - pose.position_m) @ pose.rotation) + 0.5
        box = np.array(seen.xyxy)
        # Round things do not reach the corners, hidden ones less.
        assert (box[:2] >= pixels.min(0) - 1.5).all()
        assert (box[2:] <= pixels.max(0) + 1.5).all()
        (middle,) = CAMERA.project(((seen.board.centre_m - pose.position_m) @ pose.rotation)[None])
        column, row = np.round(middle).astype(int)
        depth_m = ((seen.board.centre_m - pose.position_m) @ pose.rotation)[2]
        if not 0 <= column < WH[0]:
            continue
        assert view.depth_m[row, column] <= depth_m + 0.01
        whole = np.abs(box - [*pixels.min(0), *pixels.max(0)]).max() < 2
        assert not whole or view.depth_m[row, column] == pytest.approx(depth_m, abs=0.01)


def test_the_same_seed_is_the_same_room_and_each_thing_has_a_name_of_its_own() -> None:
    pose = camera_on(base_at(0.0, 0.0, 0.0))
    one, two, other = (World(seed, 12) for seed in (7, 7, 8))
    assert np.array_equal(one.view(RAYS, pose).rgb, two.view(RAYS, pose).rgb)
    assert not np.array_equal(one.view(RAYS, pose).rgb, other.view(RAYS, pose).rgb)
    assert len({board.label for board in one.boards}) == 12


def test_a_base_keeps_to_its_speeds_and_comes_back() -> None:
    step_s = 0.01
    poses = [base_at(number * step_s, 0.5, 45.0) for number in range(2000)]
    moved = [math.dist(a.position_m, b.position_m) / step_s for a, b in itertools.pairwise(poses)]
    turned = [
        math.degrees(math.acos(min(1.0, (np.trace(a.rotation.T @ b.rotation) - 1) / 2))) / step_s
        for a, b in itertools.pairwise(poses)
    ]
    assert max(moved) == pytest.approx(0.5, rel=0.06)
    assert max(turned) == pytest.approx(45.0, rel=0.01)
    assert max(math.dist(pose.position_m, (0, 0, 0)) for pose in poses) < 0.5


def test_a_sensor_has_noise_holes_and_mixed_edges() -> None:
    true_m = World(1).view(RAYS, camera_on(base_at(0.0, 0.0, 0.0))).depth_m
    found_m = measured(true_m, np.random.default_rng(0))
    off = (found_m / true_m - 1)[np.isfinite(found_m)]
    assert 1.4826 * np.median(np.abs(off)) == pytest.approx(0.01, rel=0.1)
    assert 0.001 < np.isnan(found_m).mean() < 0.05
    # Mixed pixels are off by much more than noise, and are few.
    assert 0.001 < (np.abs(off) > 0.06).mean() < 0.03
