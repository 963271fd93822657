"""A prompt about the last seconds, over DDS: stamps in, events with stamps out."""

from __future__ import annotations

import itertools

import numpy as np

from vlm_perception.types import Task


def test_an_answer_tells_when_by_the_stamps_of_the_camera(robot, talk, scripted):
    scripted.reply = "It stops in 00:01.50 - 00:02.00."
    t = talk(scripted, watch_window_s=120.0, watch_rate_hz=2.0)
    t.ask("watch: what happened?")
    numbers = itertools.count(100)

    def seen() -> bool:
        t.show(next(numbers), np.full((28, 42, 3), 200, np.uint8))
        with robot.changed:
            robot.changed.wait(0.05)
        return any(answer["events"] for answer in t.told())

    robot.until(seen, "an answer about two seconds or more")
    answer = next(answer for answer in t.told() if answer["events"])
    (event,) = answer["events"]
    request = next(each for each in scripted.requests if each.frame.header.stamp_sec == answer["stamp"]["sec"])
    assert (request.prompt.task, request.clip.frames[-1]) == (Task.WATCH, request.frame)
    first = request.clip.frames[0].header
    assert answer["clip"] == {
        "duration_s": answer["stamp"]["sec"] - first.stamp_sec,
        "frames": len(request.clip.frames),
    }
    assert (event["start_s"], event["end_s"]) == (1.5, 2.0)
    begins_ns = first.stamp_sec * 10**9 + first.stamp_nanosec + 1_500_000_000
    assert event["start_stamp"] == {"sec": begins_ns // 10**9, "nanosec": begins_ns % 10**9}
    assert event["text"] == answer["text"] == scripted.reply


def test_the_window_is_set_live_within_its_limit(robot, talk, scripted):
    talk(scripted)
    assert robot.set_parameters(watch_window_s=4.0, watch_rate_hz=5.0).successful
    refused = robot.set_parameters(watch_window_s=100.0, watch_rate_hz=30.0)
    assert not refused.successful
    assert "3000 frames, the limit is 256; lower one of them" in refused.reason
