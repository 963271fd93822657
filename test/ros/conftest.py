"""Real nodes over real DDS: each test has a ROS domain of its own, which does not leave this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from robot import Robot
from scripted_engine import ScriptedEngine
from talk import Talk

from benchmarks.domains import claimed_domain
from vlm_perception.ros import context


@contextmanager
def _robot() -> Iterator[Robot]:
    """In the environment, too, for child processes."""
    with claimed_domain() as number, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_DOMAIN_ID", str(number))
        made = Robot(number)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def _each_kind_of_line_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test takes on a busy machine."""
    monkeypatch.setattr(context, "_LOG_PERIOD_S", 3600.0)


@pytest.fixture
def robot() -> Iterator[Robot]:
    with _robot() as made:
        yield made


@pytest.fixture(scope="module")
def shared_robot() -> Iterator[Robot]:
    """One robot for all tests of a module, for nodes that take long to start."""
    with _robot() as made:
        yield made


@pytest.fixture
def scripted() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def talk(robot: Robot) -> Callable[..., Talk]:
    return partial(Talk, robot)
