"""When a server that failed is asked again."""

from __future__ import annotations

from manual_clock import ManualClock

from vlm_perception.engines.openai.circuit import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, Circuit


def test_each_failure_leaves_it_alone_for_longer_until_it_answers() -> None:
    clock = ManualClock()
    circuit = Circuit(clock)
    assert not circuit.is_open
    waits = []
    for _ in range(9):
        circuit.fail("refused")
        assert (circuit.is_open, circuit.reason) == (True, "refused")
        waits.append(circuit.wait_s)
        # That it is alive does not say that it answers.
        circuit.close()
        assert (circuit.is_open, circuit.wait_s) == (False, 0.0)
    assert waits == [FIRST_BACKOFF_S * 2**n for n in range(6)] + [LONGEST_BACKOFF_S] * 3
    circuit.succeed()
    circuit.fail("refused")
    assert circuit.wait_s == FIRST_BACKOFF_S


def test_a_server_says_itself_when_it_wants_to_be_asked_again() -> None:
    clock = ManualClock()
    circuit = Circuit(clock)
    circuit.fail("busy", retry_after_s=7.0)
    assert circuit.wait_s == 7.0
    clock.now_s += 5.0
    assert circuit.wait_s == 2.0
    clock.now_s += 5.0
    assert (circuit.is_open, circuit.wait_s) == (True, 0.0)
