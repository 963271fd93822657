"""Names of cameras in the topics of their results."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.ros.topics import camera_names


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/image"], ["image"]),
        (["/front/image_raw", "/back/image_raw"], ["front", "back"]),
        # the driver's own words tell nothing
        (["/cam/color/image_raw/compressed"], ["cam"]),
        # the same last word: the whole topic tells them apart
        (["/a/camera/image_raw", "/b/camera/image_raw"], ["a_camera", "b_camera"]),
        (["/front/image_raw", "/front/image_rect"], ["front_image_raw", "front_image_rect"]),
        (["/a_b", "/a/b"], ["a_b", "b"]),
    ],
)
def test_names_are_short_and_tell_the_cameras_apart(topics: list[str], names: list[str]) -> None:
    assert list(camera_names(topics).values()) == names


_parts = st.from_regex(r"[a-z][a-z0-9_]{0,4}|image_raw|image", fullmatch=True)


@given(st.lists(st.lists(_parts, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)), unique=True))
def test_every_camera_has_a_valid_name_of_its_own(topics: list[str]) -> None:
    names = camera_names(topics)
    assert list(names) == topics
    assert len(set(names.values())) == len(topics)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names.values())
