from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.ros.outputs.stamp_pairs import StampPairs
from vlm_perception.ros.topics import camera_info_topic


@pytest.mark.parametrize(
    ("image_topic", "expected"),
    [
        ("/image", "/camera_info"),
        ("image", "camera_info"),
        ("~/image/compressed", "~/camera_info"),
        ("/front/image_raw", "/front/camera_info"),
        ("/front/image_raw/compressed", "/front/camera_info"),  # a transport of the same image
        ("/camera/camera/color/image_rect_raw", "/camera/camera/color/camera_info"),
        ("/compressed", "/camera_info"),  # a camera of that name
        ("/compressed/image", "/compressed/camera_info"),
    ],
)
def test_the_topic_is_the_one_image_transport_uses(image_topic: str, expected: str) -> None:
    assert camera_info_topic(image_topic) == expected


def test_what_came_before_the_answer_is_taken_once() -> None:
    infos: StampPairs[str] = StampPairs()
    assert infos.arrived((1, 0), "one") is None
    assert infos.arrived((1, 5), "two") is None
    assert [infos.take((1, 5)), infos.take((1, 5)), infos.take((1, 0))] == ["two", None, "one"]


def test_what_comes_after_the_answer_is_handed_out_then_and_once() -> None:
    infos: StampPairs[str] = StampPairs()
    assert infos.take((1, 0)) is None
    assert infos.take((1, 0)) is None
    assert infos.arrived((1, 0), "one") == "one"
    assert infos.take((1, 0)) is None
    assert infos.arrived((2, 0), "two") is None


def test_a_camera_that_stamps_with_zero_gets_its_newest() -> None:
    infos: StampPairs[int] = StampPairs()
    infos.arrived((0, 0), 1)
    infos.arrived((0, 0), 2)
    assert infos.take((0, 0)) == 2
    infos.arrived((0, 0), 3)
    assert infos.take((0, 0)) == 3


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_any_order_gives_each_item_once_at_most_and_remembers_no_more_than_it_may(
    steps: list[tuple[bool, int]], kept: int
) -> None:
    infos: StampPairs[tuple[int, int]] = StampPairs(kept)
    given_out: list[tuple[int, int]] = []
    for number, (arrives, second) in enumerate(steps):
        got = infos.arrived((second, 0), (second, number)) if arrives else infos.take((second, 0))
        if got is not None:
            assert got[0] == second
            given_out.append(got)
        assert max(map(len, (infos._items, infos._wanted, infos._given))) <= kept
    assert len(set(given_out)) == len(given_out)
