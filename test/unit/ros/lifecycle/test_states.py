"""The life of a managed node: every way in the table, and no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.errors import LifecycleError
from vlm_perception.ros.lifecycle.states import ENDINGS, REQUESTS, TRANSITIONS, Lifecycle, Outcome, State

PRIMARY = (State.UNCONFIGURED, State.INACTIVE, State.ACTIVE, State.FINALIZED)


def walked(*steps: str) -> Lifecycle:
    life = Lifecycle()
    for step in steps:
        life.begin(label=step)
        life.end(Outcome.SUCCESS)
    return life


def test_a_whole_life() -> None:
    assert Lifecycle().state is State.UNCONFIGURED
    assert walked("configure").state is State.INACTIVE
    assert walked("configure", "activate").state is State.ACTIVE
    assert walked("configure", "activate", "deactivate", "cleanup").state is State.UNCONFIGURED
    for before in ((), ("configure",), ("configure", "activate")):
        assert walked(*before, "shutdown").state is State.FINALIZED


@pytest.mark.parametrize(
    ("outcome", "state"), [(Outcome.FAILURE, State.UNCONFIGURED), (Outcome.ERROR, State.ERRORPROCESSING)]
)
def test_a_configure_that_fails_can_be_tried_again(outcome: Outcome, state: State) -> None:
    life = Lifecycle()
    life.begin(label="configure")
    assert life.end(outcome).goal is life.state is state
    if state is State.ERRORPROCESSING:
        life.end(Outcome.SUCCESS)
    life.begin(1)
    life.end(Outcome.SUCCESS)
    assert life.state is State.INACTIVE


@pytest.mark.parametrize("number", [5, 6, 7])
@pytest.mark.parametrize("before", [(), ("configure",), ("configure", "activate")])
def test_any_number_of_a_shutdown_shuts_down(before: tuple[str, ...], number: int) -> None:
    life = walked(*before)
    assert life.begin(number).start in PRIMARY
    assert life.state is State.SHUTTINGDOWN


@given(st.lists(st.one_of(st.integers(-2, 99), st.sampled_from(["configure", "activate", "cleanup", "", "fly"]))))
def test_nothing_leads_where_the_table_does_not(steps: list[int | str]) -> None:
    life = Lifecycle()
    for step in steps:
        before, possible = life.state, {way.label for way in life.available if way in REQUESTS}
        refusal, way = "", None
        try:
            way = life.begin(label=step) if isinstance(step, str) else life.begin(step)
        except LifecycleError as error:
            refusal = str(error)
        if way is None:
            assert life.state is before
            assert f"while the node is {before.label}" in refusal
            assert all(label in refusal for label in possible)
        else:
            assert way in TRANSITIONS
            assert (way.start, way.goal) == (before, life.state)
            assert life.end(Outcome.SUCCESS).goal is life.state
            assert life.state in PRIMARY


def test_what_is_on_its_way_is_not_begun_again_and_nothing_ends_twice() -> None:
    life = Lifecycle()
    life.begin(1)
    with pytest.raises(LifecycleError, match="configure is not possible while the node is configuring; wait"):
        life.begin(1)
    life.end(Outcome.SUCCESS)
    with pytest.raises(LifecycleError, match="nothing ends while the node is inactive"):
        life.end(Outcome.SUCCESS)


def test_every_state_that_is_passed_through_has_three_ends() -> None:
    for state in State:
        ends = [way.label for way in ENDINGS if way.start is state]
        assert ends == ([outcome.value for outcome in Outcome] if state >= State.CONFIGURING else [])
