"""A frame's pixels are made once, however many threads want them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from vlm_perception.errors import ImageError
from vlm_perception.scheduling.frame_queue import PendingFrame
from vlm_perception.types import Frame, FrameHeader


def test_two_threads_get_the_same_pixels_made_once() -> None:
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make() -> Frame:
        made.append(Frame(np.zeros((2, 3, 3), np.uint8), FrameHeader(1, 2, "camera"), "/image", 0.0))
        begun.set()
        assert go_on.wait(30)
        return made[0]

    pending, got = PendingFrame("/image", 0.0, make), []
    threads = [threading.Thread(target=lambda: got.append(pending.read())) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    assert not pending.broken, "while its pixels are made for another thread"
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert [frame is made[0] for frame in got] == [True, True]
    assert len(made) == 1


def test_a_frame_that_cannot_be_read_is_broken() -> None:
    def make() -> Frame:
        raise ImageError("no pixels", cause="bad_image")

    pending = PendingFrame("/image", 0.0, make)
    for _ in range(2):
        with pytest.raises(ImageError):
            pending.read()
    assert pending.broken
