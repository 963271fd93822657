"""A region as an image of its own, and back."""

from __future__ import annotations

import numpy as np
import pytest

from vlm_perception.errors import GeometryError
from vlm_perception.frames.regions import look_at_region, shifted
from vlm_perception.types import DetectedObject, Frame, Move, Prompt, Region, Request, Task

FRAME = Frame(np.arange(60 * 80 * 3, dtype=np.uint8).reshape(60, 80, 3), camera="/image", received_s=7.0)


def asked(region: Region | None) -> Request:
    prompt = Prompt("cup", Task.DETECT, "Locate cup", ("cup",), region=region)
    return Request(FRAME, prompt, moves=(Move((30.0, 40.0), (31.0, 42.0)),))


def test_all_of_an_image_stays_itself() -> None:
    request = asked(None)
    assert look_at_region(request)[0] is request


def test_a_region_is_a_view_of_its_pixels_with_all_else_as_it_was() -> None:
    seen, origin_xy = look_at_region(asked(Region((20.0, 10.0, 60.0, 50.0), "px")))
    assert origin_xy == (20, 10)
    assert (seen.frame.rgb == FRAME.rgb[10:50, 20:60]).all()
    assert np.shares_memory(seen.frame.rgb, FRAME.rgb), "no pixel is copied"
    assert (seen.frame.camera, seen.frame.received_s, seen.frame.header) == ("/image", 7.0, FRAME.header)
    assert seen.moves == (Move((10.0, 30.0), (11.0, 32.0)),)


def test_every_place_of_an_object_comes_back() -> None:
    found = DetectedObject(
        "cup", (1.0, 2.0, 3.0, 4.0), (2.0, 3.0), {"of": "table"}, (4, 9), 0.5,
        polygon=((1.0, 2.0), (3.0, 4.0), (1.0, 4.0)), keypoints={"handle": (3.0, 3.0)},
    )  # fmt: skip
    back = shifted(found, (20, 10))
    assert back == DetectedObject(
        "cup", (21.0, 12.0, 23.0, 14.0), (22.0, 13.0), {"of": "table"}, (4, 9), 0.5,
        polygon=((21.0, 12.0), (23.0, 14.0), (21.0, 14.0)), keypoints={"handle": (23.0, 13.0)},
    )  # fmt: skip
    assert shifted(DetectedObject("cup", None, (1.0, 2.0)), (20, 10)).point_xy == (21.0, 12.0)


def test_a_region_beside_the_image_cannot_be_looked_at() -> None:
    with pytest.raises(GeometryError, match=r"\(px\).*80x60"):
        look_at_region(asked(Region((80.0, 0.0, 90.0, 50.0), "px")))
