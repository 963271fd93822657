"""The life of a managed node as a table: states, transitions, and where each of them leads.

Sources: design.ros2.org "Managed nodes"; `lifecycle_msgs/msg/State` and `Transition` for the numbers; rcl's
default state machine for the labels. A test compares the table with the one of rclpy's own `LifecycleNode`,
whose callbacks would hold the executor while a model loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from vlm_perception.errors import LifecycleError


class State(IntEnum):
    """States by their numbers in `lifecycle_msgs/msg/State`; those from 10 on are passed through."""

    UNKNOWN = 0
    UNCONFIGURED = 1
    INACTIVE = 2
    ACTIVE = 3
    FINALIZED = 4
    CONFIGURING = 10
    CLEANINGUP = 11
    SHUTTINGDOWN = 12
    ACTIVATING = 13
    DEACTIVATING = 14
    ERRORPROCESSING = 15

    @property
    def label(self) -> str:
        """Name as rcl writes it."""
        return self.name.lower()


class Outcome(Enum):
    """How an action of the node ended."""

    SUCCESS = "transition_success"
    FAILURE = "transition_failure"
    ERROR = "transition_error"


@dataclass(frozen=True, slots=True)
class Transition:
    """One way from a state to another, numbered as in `lifecycle_msgs/msg/Transition`."""

    number: int
    label: str
    start: State
    goal: State


def _end(number: int, start: State, success: State, failure: State, error: State) -> tuple[Transition, ...]:
    goals = zip(Outcome, (success, failure, error), strict=True)
    return tuple(Transition(number + place, way.value, start, goal) for place, (way, goal) in enumerate(goals))


# What may be asked for from outside.
REQUESTS: tuple[Transition, ...] = (
    Transition(1, "configure", State.UNCONFIGURED, State.CONFIGURING),
    Transition(2, "cleanup", State.INACTIVE, State.CLEANINGUP),
    Transition(3, "activate", State.INACTIVE, State.ACTIVATING),
    Transition(4, "deactivate", State.ACTIVE, State.DEACTIVATING),
    Transition(5, "shutdown", State.UNCONFIGURED, State.SHUTTINGDOWN),
    Transition(6, "shutdown", State.INACTIVE, State.SHUTTINGDOWN),
    Transition(7, "shutdown", State.ACTIVE, State.SHUTTINGDOWN),
)
# How what was asked for ends.
ENDINGS: tuple[Transition, ...] = (
    *_end(10, State.CONFIGURING, State.INACTIVE, State.UNCONFIGURED, State.ERRORPROCESSING),
    *_end(20, State.CLEANINGUP, State.UNCONFIGURED, State.INACTIVE, State.ERRORPROCESSING),
    *_end(30, State.ACTIVATING, State.ACTIVE, State.INACTIVE, State.ERRORPROCESSING),
    *_end(40, State.DEACTIVATING, State.INACTIVE, State.ACTIVE, State.ERRORPROCESSING),
    *_end(50, State.SHUTTINGDOWN, State.FINALIZED, State.FINALIZED, State.ERRORPROCESSING),
    *_end(60, State.ERRORPROCESSING, State.UNCONFIGURED, State.FINALIZED, State.FINALIZED),
)
TRANSITIONS = (*REQUESTS, *ENDINGS)


class Lifecycle:
    """Where a node is in its life. Not thread-safe: it belongs to the executor.

    Attributes:
        state: The state now.
    """

    def __init__(self) -> None:
        self.state = State.UNCONFIGURED

    @property
    def available(self) -> tuple[Transition, ...]:
        """Everything that leads out of the state, as rcl lists it."""
        return tuple(way for way in TRANSITIONS if way.start is self.state)

    def begin(self, number: int = 0, label: str = "") -> Transition:
        """Take a way that was asked for, by its label if there is one, else by its number.

        Every number of a shutdown means the shutdown from the state that the node is in.

        Raises:
            LifecycleError: It does not lead out of this state.
        """
        wanted = label or next((way.label for way in REQUESTS if way.number == number), "")
        way = next((way for way in REQUESTS if way.start is self.state and way.label == wanted), None)
        if way is None:
            may = ", ".join(dict.fromkeys(way.label for way in REQUESTS if way.start is self.state))
            asked = wanted or f"transition {number}"
            remedy = f"possible now: {may}" if may else "wait until it is over, or start the process again"
            raise LifecycleError(f"{asked} is not possible while the node is {self.state.label}; {remedy}")
        self.state = way.goal
        return way

    def end(self, outcome: Outcome) -> Transition:
        """Leave a state that is passed through.

        Raises:
            LifecycleError: The node is not on its way.
        """
        way = next((way for way in ENDINGS if way.start is self.state and way.label == outcome.value), None)
        if way is None:
            raise LifecycleError(f"nothing ends while the node is {self.state.label}")
        self.state = way.goal
        return way
