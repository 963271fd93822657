"""Time of an answer, and a model that does not come back, with a clock that is moved by hand."""

from __future__ import annotations

import pytest
from manual_clock import ManualClock

from vlm_perception.worker.timeouts import HangWatch, PassClock, RunningPass


def test_an_answer_has_its_time_from_the_moment_the_model_begins_with_it() -> None:
    clock = ManualClock()
    measured = PassClock(10.0, clock)
    first, second = measured.deadline(), measured.deadline()
    assert not first.look()
    clock.now_s += 8.0
    assert not second.look()
    clock.now_s += 4.0
    assert (first.look(), second.look()) == (True, False)
    assert (first.has_passed, second.has_passed) == (True, False)
    clock.now_s += 7.0
    assert second.look()


def test_a_deadline_that_nobody_was_told_of_has_cut_nothing() -> None:
    clock = ManualClock()
    deadline = PassClock(1.0, clock).deadline()
    deadline.look()
    clock.now_s += 5.0
    assert not deadline.has_passed


def test_a_pass_is_overdue_when_its_last_answer_is() -> None:
    clock = ManualClock()
    measured = PassClock(10.0, clock)
    first, second = measured.deadline(), measured.deadline()
    clock.now_s += 3.0
    assert measured.now() == RunningPass(3.0, -7.0, 10.0)
    first.look()
    clock.now_s += 9.0
    second.look()
    first.look()
    clock.now_s += 9.0
    assert measured.now() == RunningPass(21.0, -1.0, 10.0)
    clock.now_s += 3.0
    assert measured.now() == RunningPass(24.0, 2.0, 10.0)


def running(overdue_s: float, timeout_s: float = 60.0) -> RunningPass:
    return RunningPass(timeout_s + overdue_s, overdue_s, timeout_s)


def test_a_hang_is_new_once_and_ends_when_the_model_comes_back() -> None:
    watch = HangWatch()
    assert watch.look(None, 0.0) is None
    assert watch.look(running(-1.0), 0.0) is None
    assert watch.look(running(5.9), 0.0) is None, "a slow pass may end first"
    hangs = [watch.look(running(seconds), 0.0) for seconds in (6.1, 7.0, 1e6)]
    assert [hang is not None and hang.is_new for hang in hangs] == [True, False, False]
    assert [hang is not None and hang.must_end for hang in hangs] == [False] * 3, "0 is never"
    assert hangs[0] is not None
    assert "66.1 s" in hangs[0].text
    assert "timeout_s is 60" in hangs[0].text
    assert "restart the node" in hangs[0].text
    assert watch.look(None, 0.0) is None
    again = watch.look(running(7.0), 0.0)
    assert again is not None
    assert again.is_new


@pytest.mark.parametrize(
    ("overdue_s", "exit_s", "ends"), [(19.9, 20.0, False), (20.1, 20.0, True), (0.4, 0.5, None), (0.6, 0.5, True)]
)
def test_a_hang_ends_the_process_after_the_time_that_was_set(overdue_s: float, exit_s: float, ends: bool | None):
    hang = HangWatch().look(running(overdue_s), exit_s)
    assert (hang and hang.must_end) == ends
