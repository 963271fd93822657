"""Objects stand where they are, whatever else is inside their boxes; one that has no place says why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vlm_perception.types import DetectedObject
from vlm_perception.world.camera_model import CameraModel
from vlm_perception.world.lift import NoSpot, Spot, check_aligned, lift
from vlm_perception.world.transforms import Transform

WH = (640, 360)
CAMERA = CameraModel(WH, (450.0, 0.0, 319.5, 0.0, 450.0, 179.5, 0.0, 0.0, 1.0))
BOX = (270.0, 130.0, 370.0, 230.0)  # 100 pixels: 0.444 m at 2 m, around the axis


def boxed(xyxy: tuple[float, float, float, float]) -> DetectedObject:
    return DetectedObject("red cart", xyxy, None)


def scene(seed: int = 1) -> np.ndarray:
    """A board at 2 m in front of a wall at 3.5 m, with 1 % of noise."""
    depth_m = np.full((WH[1], WH[0]), 3.5, np.float32)
    depth_m[130:230, 270:370] = 2.0
    return depth_m * (1 + 0.01 * np.random.default_rng(seed).standard_normal(depth_m.shape)).astype(np.float32)


def holes(depth_m: np.ndarray) -> None:
    depth_m[np.random.default_rng(2).random(depth_m.shape) < 0.6] = np.nan


def zeros(depth_m: np.ndarray) -> None:
    depth_m[130:230, 270:310] = 0.0
    depth_m[130:230, 330:370] = 0.0


def edges(depth_m: np.ndarray) -> None:
    depth_m[130:230, 270:273] = np.random.default_rng(3).uniform(2.0, 3.5, (100, 3))
    depth_m[130:230, 367:370] = np.random.default_rng(4).uniform(2.0, 3.5, (100, 3))


def corner(depth_m: np.ndarray) -> None:
    depth_m[195:360, 335:640] = 1.0


def thin(depth_m: np.ndarray) -> None:
    depth_m[130:230, 270:314] = 3.5
    depth_m[130:230, 326:370] = 3.5


@pytest.mark.parametrize("spoil", [None, holes, zeros, edges, thin])
@pytest.mark.parametrize("grow_px", [0.0, 4.0, 15.0])
def test_the_foreground_is_found(spoil, grow_px: float) -> None:
    depth_m = scene()
    if spoil is not None:
        spoil(depth_m)
    box = (BOX[0] - grow_px, BOX[1] - grow_px, BOX[2] + grow_px, BOX[3] + grow_px)
    (spot,) = lift([boxed(box)], WH, depth_m, CAMERA)
    assert isinstance(spot, Spot)
    assert math.dist(spot.position_m, (0.0, 0.0, 2.0)) < 0.03
    assert spot.size_m[1] == pytest.approx(0.444, abs=0.03)
    if spoil not in (zeros, thin):
        assert spot.size_m[0] == pytest.approx(0.444, abs=0.03)
    # It is flat: what is left is noise.
    assert spot.size_m[2] < 0.06


def test_a_thing_that_is_round_or_reaches_back_has_its_whole_size() -> None:
    depth_m = scene()
    y, x = np.mgrid[: WH[1], : WH[0]]
    depth_m[130:230, 270:370] = 3.5
    off = np.hypot(x + 0.5 - 320, y + 0.5 - 180)
    # A disc of 100 pixels whose right end is 0.4 m farther away than its left one.
    depth_m = np.where(off < 50, 2.0 + 0.004 * (x - 320), depth_m).astype(np.float32)
    (spot,) = lift([boxed(BOX)], WH, depth_m, CAMERA)
    assert isinstance(spot, Spot)
    assert spot.size_m == pytest.approx((0.444, 0.444, 0.4), abs=0.06)
    assert math.dist(spot.position_m, (0.0, 0.0, 2.0)) < 0.03


def test_many_are_lifted_as_each_alone() -> None:
    boxes = [boxed((270.0 + 7 * n, 130.0 + 3 * n, 380.0, 240.0)) for n in range(5)]
    odd = [boxed((700.0, 0.0, 800.0, 50.0)), DetectedObject("bolt", None, (365.0, 225.0))]
    together = lift([*boxes, *odd], WH, scene(), CAMERA)
    assert together == tuple(lift([item], WH, scene(), CAMERA)[0] for item in [*boxes, *odd])


def test_a_place_is_the_same_in_another_frame() -> None:
    (spot,) = lift([boxed(BOX)], WH, scene(), CAMERA)
    assert isinstance(spot, Spot)
    # The optical frame in a body's: z forward becomes x forward.
    body = Transform((0.2, 0.0, 0.5), (-0.5, 0.5, -0.5, 0.5))
    there = spot.seen_from(body)
    assert there.position_m == pytest.approx((spot.position_m[2] + 0.2, -spot.position_m[0], 0.5 - spot.position_m[1]))
    assert (there.size_m, there.distance_m) == (spot.size_m, spot.distance_m)
    before, after = (np.reshape(each.covariance_m2, (3, 3)) for each in (spot, there))
    assert after.diagonal() == pytest.approx(before.diagonal()[[2, 0, 1]])
    back = there.seen_from(body.inverse())
    assert back.position_m == pytest.approx(spot.position_m)
    assert back.covariance_m2 == pytest.approx(spot.covariance_m2)


def test_what_hides_a_corner_is_not_the_thing() -> None:
    depth_m = scene()
    corner(depth_m)
    (spot,) = lift([boxed(BOX)], WH, depth_m, CAMERA)
    assert isinstance(spot, Spot)
    assert spot.position_m[2] == pytest.approx(2.0, abs=0.03)


def test_a_box_that_the_image_cuts_is_lifted_by_what_is_in_it() -> None:
    depth_m = np.full((WH[1], WH[0]), 1.0, np.float32)
    (spot,) = lift([boxed((-50.0, 100.0, 60.0, 200.0))], WH, depth_m, CAMERA)
    assert isinstance(spot, Spot)
    assert spot.position_m[0] == pytest.approx((29.5 - 319.5) / 450.0, abs=0.005)


def test_a_point_becomes_a_point() -> None:
    (spot,) = lift([DetectedObject("bolt", None, (365.0, 225.0))], WH, scene(), CAMERA)
    assert isinstance(spot, Spot)
    assert math.dist(spot.position_m, (45.5 / 225, 45.5 / 225, 2.0)) < 0.04
    assert spot.size_m == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("factor", [2, 3])
def test_depth_of_another_size_is_the_same_view(factor: int) -> None:
    small = np.ascontiguousarray(scene()[::factor, ::factor])
    (spot,) = lift([boxed(BOX)], WH, small, CAMERA)
    assert isinstance(spot, Spot)
    assert math.dist(spot.position_m, (0.0, 0.0, 2.0)) < 0.03


def test_the_covariance_covers_the_errors() -> None:
    """Over noisy copies, the true error squared by the stated covariance is of the order of its three dimensions."""
    distances = []
    for seed in range(40):
        (spot,) = lift([boxed(BOX)], WH, scene(seed), CAMERA)
        assert isinstance(spot, Spot)
        covariance = np.reshape(spot.covariance_m2, (3, 3))
        assert np.linalg.eigvalsh(covariance).min() > 0
        error = np.subtract(spot.position_m, (0.0, 0.0, 2.0))
        distances.append(float(error @ np.linalg.inv(covariance) @ error))
    assert np.mean(distances) < 3.0


@pytest.mark.parametrize(
    ("item", "depth_m", "cause", "text"),
    [
        (boxed(BOX), np.full((360, 640), np.nan, np.float32), "no_valid_depth", "0% valid pixels"),
        (boxed((700.0, 0.0, 800.0, 50.0)), scene(), "outside", "outside of the depth image of 640x360"),
        (boxed((math.nan, 0.0, 1.0, 1.0)), scene(), "outside", "not finite"),
        (DetectedObject("red cart", None, None), scene(), "outside", "neither a box nor a point"),
        (boxed(BOX), np.ones((480, 640), np.float32), "bad_camera_info", "640x480 is not the view"),
    ],
)
def test_an_object_without_a_place_says_why(item: DetectedObject, depth_m: np.ndarray, cause: str, text: str) -> None:
    (none,) = lift([item], WH, depth_m, CAMERA)
    assert isinstance(none, NoSpot)
    assert none.cause == cause
    assert text in none.text


@pytest.mark.parametrize(
    ("depth_wh", "depth_frame", "refused"),
    [((320, 180), "optical", False), ((640, 480), "optical", True), ((640, 360), "depth_optical", True)],
)
def test_depth_must_belong_to_the_image(depth_wh: tuple[int, int], depth_frame: str, refused: bool) -> None:
    none = check_aligned(WH, "optical", depth_wh, depth_frame)
    assert (none is not None) is refused
    assert none is None or "register" in none.text


NUMBER = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(NUMBER, min_size=8, max_size=8), st.floats(1e-300, 1e300))
def test_any_calibration_gives_finite_places_or_is_named(d: list[float], focal_px: float) -> None:
    k = (focal_px, 0.0, 319.5, 0.0, focal_px, 179.5, 0.0, 0.0, 1.0)
    (spot,) = lift([boxed(BOX)], WH, scene(), CameraModel(WH, k, "rational_polynomial", tuple(d)))
    if isinstance(spot, Spot):
        assert np.isfinite([*spot.position_m, *spot.size_m, *spot.covariance_m2]).all()
    else:
        assert (spot.cause, "calibrate" in spot.text) == ("bad_camera_info", True)


EDGE = st.floats(-100, 800, width=32) | st.sampled_from([math.nan, math.inf, -math.inf])
DEPTHS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.tuples(EDGE, EDGE, EDGE, EDGE), arrays.arrays(np.float32, (9, 16), elements=DEPTHS))
def test_anything_is_lifted_within_the_range_of_the_depth_or_says_why(
    box: tuple[float, float, float, float], depth_m: np.ndarray
) -> None:
    (spot,) = lift([boxed(box)], WH, depth_m, CAMERA)
    if isinstance(spot, Spot):
        valid = depth_m[np.isfinite(depth_m) & (depth_m > 0)].astype(np.float64)
        assert valid.min() * 0.999999 <= spot.position_m[2] <= valid.max() * 1.000001
        assert np.isfinite([*spot.position_m, *spot.size_m]).all()
