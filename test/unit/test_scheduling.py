from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.scheduling import LatestSlot, RateGate, Throttle


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_slot_keeps_only_the_newest_and_reports_what_it_replaced():
    slot: LatestSlot[int] = LatestSlot()
    assert [slot.put(item) for item in (1, 2, 3)] == [False, True, True]
    assert slot.take(0) == 3
    assert slot.take(0) is None


def test_taking_waits_for_an_item_from_another_thread():
    slot: LatestSlot[int] = LatestSlot()
    putter = threading.Timer(0.02, slot.put, [7])
    putter.start()
    assert slot.take(30.0) == 7
    putter.join()


def test_closing_wakes_the_waiting_and_drops_the_item():
    slot: LatestSlot[int] = LatestSlot()
    closer = threading.Timer(0.02, slot.close)
    closer.start()
    assert slot.take() is None
    closer.join()
    assert slot.put(1) is False
    assert slot.take() is None


def test_no_item_is_taken_twice_or_out_of_order_under_load():
    slot: LatestSlot[int] = LatestSlot()
    taken: list[int] = []
    replaced = 0

    def consume() -> None:
        while (item := slot.take(30.0)) is not None:
            taken.append(item)
            if item == 4999:
                return

    consumer = threading.Thread(target=consume)
    consumer.start()
    for item in range(5000):
        replaced += slot.put(item)
    consumer.join(30.0)
    assert taken == sorted(set(taken))
    assert len(taken) + replaced == 5000


@given(
    rate_hz=st.floats(0.01, 1000.0),
    steps_s=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=50),
)
def test_gate_never_lets_two_through_within_one_period(rate_hz, steps_s):
    clock = ManualClock()
    gate, passed_s = RateGate(rate_hz, clock), []
    for step_s in steps_s:
        clock.now_s += step_s
        if gate.wait_s() == 0.0:
            gate.mark_passed()
            passed_s.append(clock.now_s)
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(passed_s)]
    assert all(gap_s >= 1.0 / rate_hz - 1e-6 for gap_s in gaps_s)
    assert passed_s, "the first one always passes"


def test_gate_measures_from_start_to_start_and_follows_a_new_rate():
    clock = ManualClock()
    gate = RateGate(2.0, clock)
    gate.mark_passed()
    clock.now_s += 0.2
    assert gate.wait_s() == pytest.approx(0.3)
    gate.max_rate_hz = 10.0
    assert gate.wait_s() == 0.0
    gate.max_rate_hz = 0.01
    gate.reset()
    assert gate.wait_s() == 0.0


def test_throttle_counts_each_kind_apart():
    clock = ManualClock()
    throttle = Throttle(5.0, clock)
    assert [throttle.allows("truncated"), throttle.allows("truncated"), throttle.allows("zero_size")] == [
        True,
        False,
        True,
    ]
    clock.now_s += 5.0
    assert throttle.allows("truncated")
