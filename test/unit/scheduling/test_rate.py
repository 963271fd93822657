from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manual_clock import ManualClock

from vlm_perception.scheduling.rate import RateGate, Throttle


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
