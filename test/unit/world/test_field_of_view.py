"""What was in view of an image: a thing that is not found there has gone; of everything else nobody knows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.world.camera_model import CameraModel
from vlm_perception.world.field_of_view import FieldOfView, looked_at
from vlm_perception.world.transforms import IDENTITY, Transform

WH = (320, 240)
FOCAL_PX = 250.0
WALL_M = 4.0
CUP_M = (0.15, 0.15, 0.1)
CAMERA = CameraModel(WH, (FOCAL_PX, 0.0, 159.5, 0.0, FOCAL_PX, 119.5, 0.0, 0.0, 1.0))
# Looks along x of a frame whose z is up, from 0.5 m above its origin.
ON_BASE = Transform((0.0, 0.0, 0.5), (-0.5, 0.5, -0.5, 0.5))


def view(
    depth_m: np.ndarray | None = None,
    to_camera: Transform = IDENTITY,
    part: tuple[int, int, int, int] = (0, 0, *WH),
    camera: CameraModel = CAMERA,
) -> FieldOfView:
    metres = np.full((WH[1], WH[0]), WALL_M, np.float32) if depth_m is None else depth_m
    return FieldOfView(camera, metres, to_camera, looked_at(part, WH, (metres.shape[1], metres.shape[0])))


def with_block(near_m: float, share: float = 1.0) -> np.ndarray:
    """A wall with something before the middle of the image, which covers so much of what is around there."""
    metres = np.full((WH[1], WH[0]), WALL_M, np.float32)
    metres[90:150, 130 : round(130 + 60 * share)] = near_m
    return metres


@pytest.mark.parametrize(
    ("position_m", "expected"),
    [
        ((0.0, 0.0, 2.0), True),  # before the wall: nothing is there
        ((0.0, 0.0, WALL_M), True),  # at the wall
        ((0.0, 0.0, 4.15), True),  # and within what depth and localisation are wrong by
        ((0.0, 0.0, 5.0), False),  # behind it
        ((0.0, 0.0, -2.0), False),  # behind the camera
        ((0.0, 0.0, 0.0), False),
        ((1.1, 0.0, 2.0), True),  # near the image's edge
        ((1.25, 0.0, 2.0), False),  # cut by it
        ((2.0, 0.0, 2.0), False),  # outside
        ((0.0, -1.0, 2.0), False),
        ((0.0, 0.9, 2.0), False),
    ],
)
def test_a_place_is_in_view_where_nothing_hides_it(position_m: tuple[float, float, float], expected: bool) -> None:
    assert view().holds(position_m, CUP_M) is expected


@pytest.mark.parametrize(("near_m", "expected"), [(2.0, True), (1.95, True), (1.2, False), (float("nan"), False)])
def test_what_stands_before_it_hides_it_and_what_is_there_does_not(near_m: float, expected: bool) -> None:
    assert view(with_block(near_m)).holds((0.0, 0.0, 2.0), CUP_M) is expected


@pytest.mark.parametrize(("share", "expected"), [(0.42, True), (0.6, False)])
def test_what_hides_a_corner_of_it_hides_nothing(share: float, expected: bool) -> None:
    assert view(with_block(1.0, share)).holds((0.0, 0.0, 2.0), CUP_M) is expected


def test_half_of_the_depth_is_enough_and_none_is_not() -> None:
    holes = np.full((WH[1], WH[0]), WALL_M, np.float32)
    holes[::2] = np.nan
    assert view(holes).holds((0.0, 0.0, 2.0), CUP_M)
    assert not view(np.zeros((WH[1], WH[0]), np.float32)).holds((0.0, 0.0, 2.0), CUP_M)


@pytest.mark.parametrize(("size_m", "expected"), [((0.15, 0.15, 0.0), True), ((0.05, 0.05, 0.0), False)])
def test_what_is_too_small_from_here_is_not_missed(size_m: tuple[float, float, float], expected: bool) -> None:
    far = np.full((WH[1], WH[0]), 9.0, np.float32)
    # 6.4 pixels are a fiftieth of the image.
    assert view(far).holds((0.0, 0.0, 5.0), size_m) is expected


def test_only_the_part_that_was_looked_at_counts() -> None:
    half = view(part=(0, 0, 160, 240))
    assert half.holds((-0.5, 0.0, 2.0), CUP_M)
    assert not half.holds((0.5, 0.0, 2.0), CUP_M)
    assert looked_at((100, 50, 200, 100), (400, 300), (200, 150)) == (50.0, 25.0, 100.0, 50.0)


@pytest.mark.parametrize(("position_m", "expected"), [((2.0, 0.0, 0.5), True), ((2.0, 0.0, 2.0), False)])
def test_places_are_of_another_frame(position_m: tuple[float, float, float], expected: bool) -> None:
    assert view(to_camera=ON_BASE.inverse()).holds(position_m, CUP_M) is expected


def test_a_lens_folds_nothing_into_the_image() -> None:
    """Far outside of the view a barrel's polynomial turns back: 1 - 0.35 r² + 0.05 r⁴ is negative at r = 2."""
    barrel = CameraModel(WH, CAMERA.k, "plumb_bob", (-0.35, 0.0, 0.0, 0.0, 0.0))
    far = (3.4, 0.0, 2.0)
    pixel = barrel.project(np.array([far]))[0]
    assert 0 < pixel[0] < WH[0], "the case is none"
    assert not view(camera=barrel).holds(far, CUP_M)
    assert view(camera=barrel).holds((0.5, 0.3, 2.0), CUP_M)


@given(
    st.tuples(*[st.floats(-1e3, 1e3)] * 3),
    st.tuples(*[st.floats(0.0, 10.0)] * 3),
    st.sampled_from([0.5, 4.0, 1e4, float("nan"), float("inf"), 0.0]),
)
def test_what_is_in_view_is_inside_of_the_image_and_before_the_depth(
    position_m: tuple[float, float, float], size_m: tuple[float, float, float], wall_m: float
) -> None:
    if not view(np.full((WH[1], WH[0]), wall_m, np.float32)).holds(position_m, size_m):
        return
    x, y, z = position_m
    assert z > 0
    assert abs(math.atan2(x, z)) < math.atan2(160, FOCAL_PX)
    assert abs(math.atan2(y, z)) < math.atan2(120, FOCAL_PX)
    half_m = max(0.06, *size_m) / 2
    assert z - half_m - max(0.1, 0.05 * z) <= wall_m
