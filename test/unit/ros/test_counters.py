from __future__ import annotations

import pytest
from manual_clock import ManualClock

from vlm_perception.ros.counters import Counters, CountersByCamera


def test_nothing_is_claimed_before_the_first_sample():
    report = Counters(ManualClock()).report()
    assert (report.frames, report.answers, report.rate_hz) == (0, 0, 0.0)
    assert report.latency_p50_s is report.latency_p95_s is report.age_p50_s is report.since_frame_s is None


def test_rates_and_percentiles():
    clock = ManualClock()
    counters = Counters(clock)
    for index in range(100):
        clock.now_s += 0.1
        counters.count_frame()
        if index % 2:
            counters.count_answer(latency_s=index / 100, age_s=1.0, n_rejects=1)
    clock.now_s += 0.05
    report = counters.report()
    assert report.frame_rate_hz == pytest.approx(10.0, rel=0.05)
    assert report.rate_hz == pytest.approx(5.0, rel=0.05)
    assert report.latency_p50_s == pytest.approx(0.5, abs=0.02)
    assert report.latency_p95_s == pytest.approx(0.95, abs=0.02)
    assert report.since_frame_s == pytest.approx(0.05)
    assert report.rejects == 50


def test_good_objects_below_the_threshold_are_counted_apart():
    counters = Counters(ManualClock())
    counters.count_answer(0.1, 0.1, n_rejects=3, n_below_threshold=2)
    counters.count_answer(0.1, 0.1, n_rejects=1)
    report = counters.report()
    assert (report.rejects, report.below_threshold) == (4, 2)


def test_rate_falls_to_zero_when_answers_stop():
    clock = ManualClock()
    counters = Counters(clock)
    counters.count_answer(0.1, 0.1)
    clock.now_s += 11.0
    assert counters.report().rate_hz == 0.0


def test_drops_and_errors_are_counted_by_cause():
    counters = Counters(ManualClock())
    assert [counters.count_drop("truncated"), counters.count_drop("truncated"), counters.count_drop("stale")] == [
        1,
        2,
        1,
    ]
    assert counters.count_error("prompt") == 1
    assert [counters.count_repetition(), counters.count_repetition()] == [1, 2]
    for outcome in ("done", "stale", "done"):
        counters.count_look(outcome)
    report = counters.report()
    assert report.looks == {"done": 2, "stale": 1}
    assert (report.drops, report.errors) == ({"truncated": 2, "stale": 1}, {"prompt": 1})
    assert report.repetitions == 2


def test_the_age_of_what_is_known_grows_until_a_newer_image_is_answered() -> None:
    now_s = 100.0
    counters = Counters(lambda: now_s)
    assert counters.report().answer_age_s is None
    counters.count_answer(latency_s=1.0, age_s=1.0)
    now_s = 103.0
    assert counters.report().answer_age_s == 4.0
    counters.count_answer(latency_s=5.0, age_s=5.0)
    assert counters.report().answer_age_s == 4.0, "an older image tells nothing new"
    counters.count_answer(latency_s=0.5, age_s=0.5)
    assert counters.report().answer_age_s == 0.5


def test_each_camera_is_counted_for_itself_and_all_together() -> None:
    counters = CountersByCamera(clock=lambda: 7.0)
    counters.use(["/front", "/rear"])
    for each in counters.of("/front"):
        each.count_frame()
        each.count_answer(latency_s=1.0, age_s=2.0)
    drops = [[each.count_drop("stale") for each in counters.of(camera)] for camera in ("/front", "/rear", "/gone")]
    assert drops == [[1, 1], [2, 1], [3]]
    assert (counters.total.report().frames, counters.total.report().drops) == (1, {"stale": 3})
    front, rear = counters.reports().values()
    assert (front.frames, front.answers, front.drops) == (1, 1, {"stale": 1})
    assert (rear.frames, rear.answers, rear.drops) == (0, 0, {"stale": 1})
    counters.use(["/arm", "/front"])
    assert [report.frames for report in counters.reports().values()] == [0, 1], "one that stays goes on counting"
