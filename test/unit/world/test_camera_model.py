"""Rays go through the lens of the CameraInfo and back, at every size of the view."""

from __future__ import annotations

import numpy as np
import pytest

from vlm_perception.world.camera_model import CameraModel, CameraModelError

K = (600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0)
LENSES = {
    "": (),
    "plumb_bob": (0.1, -0.05, 0.001, -0.002, 0.0),
    "rational_polynomial": (0.1, -0.05, 0.001, -0.002, 0.01, 0.02, 0.01, 0.003),
    "equidistant": (0.02, -0.01, 0.002, 0.0),
}


@pytest.mark.parametrize("image_wh", [(640, 480), (1280, 960), (320, 240)])
@pytest.mark.parametrize("name", LENSES)
def test_a_point_in_space_is_projected_and_found_again(name: str, image_wh: tuple[int, int]) -> None:
    model = CameraModel((640, 480), K, name, LENSES[name]).scaled_to(image_wh)
    points_m = np.array([[0.0, 0.0, 2.0], [0.6, -0.4, 2.0], [-0.7, 0.5, 2.5]])
    rays = model.rays_of(model.project(points_m))
    np.testing.assert_allclose(rays * points_m[:, 2:], points_m, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in LENSES if name])
def test_the_lens_makes_a_difference(name: str) -> None:
    corner = np.array([[10.0, 10.0]])
    bent, straight = CameraModel((640, 480), K, name, LENSES[name]), CameraModel((640, 480), K)
    assert np.abs(bent.rays_of(corner) - straight.rays_of(corner)).max() > 1e-3


def test_half_the_size_sees_the_same_edges() -> None:
    model = CameraModel((640, 480), K)
    # The edge between pixels 99 and 100 is that between 49 and 50.
    whole, half = model.rays_of(np.array([[99.5, 99.5]])), model.scaled_to((320, 240)).rays_of(np.array([[49.5, 49.5]]))
    np.testing.assert_allclose(whole, half)


@pytest.mark.parametrize(
    ("image_wh", "k", "lens", "d", "remedy"),
    [
        ((640, 480), (0.0,) * 9, "plumb_bob", (), "uncalibrated"),
        ((0, 0), K, "", (), "uncalibrated"),
        ((640, 480), (float("nan"), *K[1:]), "", (), "uncalibrated"),
        ((640, 480), K, "plumb_bob", (0.1,), "image_proc"),
        ((640, 480), K, "fov", (0.1, 0.0, 0.0, 0.0), "image_proc"),
    ],
)
def test_what_no_ray_can_be_made_of_is_refused(
    image_wh: tuple[int, int], k: tuple[float, ...], lens: str, d: tuple[float, ...], remedy: str
) -> None:
    with pytest.raises(CameraModelError, match=remedy):
        CameraModel(image_wh, k, lens, d)


def test_another_aspect_is_another_view() -> None:
    with pytest.raises(CameraModelError, match="640x360 is not the view of a calibration for 640x480"):
        CameraModel((640, 480), K).scaled_to((640, 360))


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize(
    ("roi", "binning", "image_wh"),
    [
        ((0, 0, 0, 0), (0, 0), (640, 480)),
        ((0, 0, 0, 0), (2, 2), (320, 240)),
        ((100, 40, 400, 300), (1, 1), (400, 300)),
        ((100, 40, 400, 300), (2, 4), (200, 75)),
    ],
)
def test_a_part_of_the_view_sees_the_same_rays(
    name: str, roi: tuple, binning: tuple, image_wh: tuple[int, int]
) -> None:
    whole = CameraModel((640, 480), K, name, LENSES[name])
    part = whole.window(roi, binning)
    assert part.image_wh == image_wh
    x, y = 30.0, 20.0
    bin_x, bin_y = (max(1, each) for each in binning)
    # Edges of pixels, which are at halves, are the same in both.
    there = np.array([[roi[0] + x * bin_x - 0.5, roi[1] + y * bin_y - 0.5]])
    np.testing.assert_allclose(part.rays_of(np.array([[x - 0.5, y - 0.5]])), whole.rays_of(there), atol=1e-9)


@pytest.mark.parametrize(("roi", "binning"), [((300, 0, 400, 480), (1, 1)), ((0, 0, 640, 1), (1, 2))])
def test_a_part_outside_of_the_view_is_refused(roi: tuple, binning: tuple) -> None:
    with pytest.raises(CameraModelError, match="region of interest"):
        CameraModel((640, 480), K).window(roi, binning)
