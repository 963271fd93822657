"""Which images are kept, within how much memory, and which of them a stamp means."""

from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image

from vlm_perception.errors import NoAnswerError
from vlm_perception.ros.inputs.recent_images import RecentImage, RecentImages


def image(number: int, camera: str = "/a", size: int = 10_000) -> RecentImage:
    message = Image(data=bytes(size))
    message.header.stamp = Time(sec=number)
    return RecentImage(camera, message, float(number))


def kept(*images: RecentImage, limit: int = 100_000) -> RecentImages:
    found = RecentImages()
    for each in images:
        found.add(each, limit)
    return found


@pytest.mark.parametrize(
    ("limit", "size", "count"),
    [
        (0, 10_000, 0),
        (9_999, 10_000, 0),
        (12_000, 10_000, 1),
        (39_000, 10_000, 3),
        (100_000, 10_000, 5),
        # Without pixels they take room all the same.
        (0, 0, 0),
        (3000, 0, 2),
    ],
)
def test_the_newest_stay_within_the_limit(limit: int, size: int, count: int) -> None:
    images = kept(*(image(number, size=size) for number in range(1, 6)), limit=limit)
    assert len(images) == count
    if count:
        assert images.nearest(Time(sec=5)).received_s == 5.0


@pytest.mark.parametrize(
    ("sec", "nanosec", "camera", "found"),
    [
        (2, 0, None, ("/a", 2)),
        (1, 950_000_000, None, ("/a", 2)),
        (3, 0, "/b", ("/b", 3)),
        (2, 99_000_000, "/a", ("/a", 2)),
    ],
)
def test_the_nearest_in_time_is_meant(sec: int, nanosec: int, camera: str | None, found: tuple[str, int]) -> None:
    images = kept(image(1), image(2), image(3, "/b"), image(4))
    chosen = images.nearest(Time(sec=sec, nanosec=nanosec), camera)
    assert (chosen.camera, chosen.received_s) == found


def test_what_is_not_kept_is_told_with_what_is() -> None:
    images = kept(image(1), image(2), image(9, "/b"))
    with pytest.raises(
        NoAnswerError, match=r"no image of /a is within 0\.1 s of stamp 9\.000: 2 are kept, of 1\.000 to 2"
    ):
        images.nearest(Time(sec=9), "/a")
    images.keep(["/b"])
    with pytest.raises(
        NoAnswerError, match="none is kept; give the stamp of an image, ask sooner, or raise kept_images_mb"
    ):
        images.nearest(Time(sec=1), "/a")
    assert len(images) == 1
