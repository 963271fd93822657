"""The frames of the last seconds, and clips of them."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from vlm_perception.errors import ImageError
from vlm_perception.frames.history import FrameHistories, FrameHistory, HistoryFrame, clip_of, halved
from vlm_perception.frames.lazy_frame import LazyFrame
from vlm_perception.types import Frame, FrameHeader

WH = (64, 48)


def frame(time_s: float, stamp_s: float | None = None, wh: tuple[int, int] = WH) -> Frame:
    stamp_ns = round((100.0 + time_s if stamp_s is None else stamp_s) * 1e9)
    return Frame(np.zeros((*wh[::-1], 3), np.uint8), FrameHeader(*divmod(stamp_ns, 10**9), "camera"), "/image", time_s)


def source(time_s: float) -> LazyFrame:
    return LazyFrame(lambda: frame(time_s))


def kept(*frames: Frame) -> list[HistoryFrame]:
    return [HistoryFrame(each.received_s, LazyFrame(lambda each=each: each), 1) for each in frames]


def received(frames: tuple[HistoryFrame, ...]) -> list[float]:
    return [each.received_s for each in frames]


def test_frames_are_taken_on_the_beat_and_go_when_they_are_old() -> None:
    history = FrameHistory(2.0, 2.0, 1)
    before = [history.add(number / 30, source(number / 30)) for number in range(150)]
    assert received(before[0]) == []
    assert received(before[-1]) == pytest.approx([3.0, 3.5, 4.0, 4.5], abs=1 / 30)
    assert all(len(each) <= 5 for each in before), "2 s at 2 Hz, and the one that begins them"
    assert received(history.add(60.0, source(60.0))) == [], "none is older than the window"
    assert received(history.add(60.2, source(60.2))) == [60.0]


def test_a_camera_slower_than_the_rate_is_kept_whole() -> None:
    history = FrameHistory(4.0, 2.0, 1)
    times = [0.0, 1.0, 1.9, 3.1, 4.0]
    assert received([history.add(time_s, source(time_s)) for time_s in times][-1]) == times[:-1]


def test_nothing_is_read_before_somebody_looks_and_then_the_message_goes() -> None:
    read: list[float] = []

    class Message:
        def make(self) -> Frame:
            read.append(0.0)
            return frame(0.0)

    message, history = Message(), FrameHistory(2.0, 2.0, 1)
    gone = weakref.ref(message)
    history.add(0.0, LazyFrame(message.make))
    before = history.add(0.5, source(0.5))
    assert not read
    del message
    for _ in range(2):
        clip_of(before, frame(0.5), 2.0)
    gc.collect()
    assert (read, gone()) == ([0.0], None)


def test_only_wanted_cameras_keep_frames_and_other_sizes_begin_anew() -> None:
    histories = FrameHistories()
    assert histories.offer("a", 0.0, source(0.0)) == ()
    histories.use(["a"], 2.0, 2.0, 1)
    for time_s in (0.0, 0.5):
        histories.offer("a", time_s, source(time_s))
        histories.offer("b", time_s, source(time_s))
    histories.use(["a", "b"], 2.0, 2.0, 1)
    assert [len(histories.offer(name, 1.0, source(1.0))) for name in "ab"] == [2, 0]
    histories.use(["a"], 4.0, 2.0, 1)
    assert histories.offer("a", 1.5, source(1.5)) == ()


# Frames before the last one at 3.0 s, and the times of the clip.
CLIPS = {
    "none before": ([], [0.0]),
    "uneven": ([frame(0.0), frame(0.4), frame(1.5)], [0.0, 0.4, 1.5, 3.0]),
    "no stamps: arrival": ([frame(0.0, 0.0), frame(1.0, 0.0)], [0.0, 1.0, 3.0]),
    "a standing stamp: arrival": ([frame(0.0, 7.0), frame(1.0, 7.0)], [0.0, 1.0, 3.0]),
    "a recording that began again": ([frame(0.0, 500.0), frame(1.0, 501.0), frame(2.0, 102.0)], [0.0, 1.0]),
    "a clock that was set": ([frame(0.0, 1.0), frame(1.0, 101.0)], [0.0, 2.0]),
    "another size before": ([frame(0.0, wh=(32, 48)), frame(1.0), frame(2.0)], [0.0, 1.0, 2.0]),
    "the same frame again": ([frame(1.0), frame(1.0), frame(2.0)], [0.0, 1.0, 2.0]),
}


@pytest.mark.parametrize(("before", "times_s"), CLIPS.values(), ids=CLIPS)
def test_a_clip_has_the_times_of_the_camera(before: list[Frame], times_s: list[float]) -> None:
    stamp_s = {0: None, 1: None}.get(len(before)) or (
        before[0].header.stamp_sec if times_s == [0.0, 1.0, 3.0] else None
    )
    last = frame(3.0, float(stamp_s) if stamp_s is not None and before[0].header == before[1].header else None)
    clip = clip_of(kept(*before), last, 4.0)
    assert clip.times_s == pytest.approx(times_s)
    assert clip.frames[-1] is last
    assert [each.received_s for each in clip.frames] == sorted({each.received_s for each in clip.frames})


def test_a_frame_that_cannot_be_read_is_left_out_and_told_once() -> None:
    def fail() -> Frame:
        raise ImageError("cut off", cause="truncated")

    before = [*kept(frame(0.0)), HistoryFrame(1.0, LazyFrame(fail), 1), *kept(frame(2.0))]
    told: list[ImageError] = []
    for _ in range(2):
        clip = clip_of(before, frame(3.0), 4.0, told.append)
        assert clip.times_s == pytest.approx([0.0, 2.0, 3.0])
    assert [error.cause for error in told] == ["truncated"]


@pytest.mark.parametrize(
    ("wh", "least_px", "small_wh"),
    [
        ((1280, 720), 131_072, (640, 360)),
        ((1280, 720), 230_400, (640, 360)),
        ((1280, 720), 230_401, (1280, 720)),
        ((1281, 721), 57_600, (320, 180)),
        ((3, 400), 1, (1, 133)),
        ((1, 9), 1, (1, 9)),
    ],
)
def test_pixels_are_halved_as_long_as_enough_are_left(
    wh: tuple[int, int], least_px: int, small_wh: tuple[int, int]
) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*wh[::-1], 3), dtype=np.uint8)
    small = halved(rgb, least_px)
    assert small.shape == ((*small_wh[::-1], 3) if wh != (3, 400) else (200, 1, 3))
    assert not np.shares_memory(small, rgb)
    assert abs(float(small.mean()) - float(rgb.mean())) < 12
