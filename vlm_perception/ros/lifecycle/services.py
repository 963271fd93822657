"""A managed node's services and events, on top of `ros/lifecycle/states.py`: what any lifecycle manager talks to.

rclpy has a `LifecycleNode`, which runs its callbacks inside the service call: while a model loads nothing else
would be answered. Here an action may end later, on another thread, and the executor stays free.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from lifecycle_msgs.msg import State as StateMessage
from lifecycle_msgs.msg import Transition as TransitionMessage
from lifecycle_msgs.msg import TransitionDescription, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rclpy.callback_groups import ReentrantCallbackGroup

from vlm_perception.errors import LifecycleError, VlmPerceptionError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import Done
from vlm_perception.ros.lifecycle.states import TRANSITIONS, Lifecycle, Outcome, State, Transition


class Actions(Protocol):
    """What a node does on its way; called on the executor.

    An action that takes long returns a future and ends it on any thread. A VlmPerceptionError means that it
    could not be done and nothing has changed; any other exception that something is broken, and `cleanup`
    is called to get out of it.
    """

    def configure(self) -> Future[None] | None:
        """Get everything ready, but do not work yet."""
        ...

    def activate(self) -> Future[None] | None:
        """Begin to work."""
        ...

    def deactivate(self) -> Future[None] | None:
        """Stop working and keep everything ready."""
        ...

    def cleanup(self) -> Future[None] | None:
        """Give everything back."""
        ...

    def shutdown(self) -> Future[None] | None:
        """End for good."""
        ...


class LifecycleServices:
    """Offers `~/change_state` and what belongs to it, and publishes `~/transition_event`.

    Args:
        context: Of the node.
        actions: What is done on the way.

    Attributes:
        problem: Why the last change did not come about; empty after one that did.
    """

    def __init__(self, context: NodeContext, actions: Actions) -> None:
        self._node, self._executor, self._actions = context.node, context.executor, actions
        self._life = Lifecycle()
        self.problem = ""
        self._events = self._node.create_publisher(TransitionEvent, "~/transition_event", 10)
        # In the node's own group nothing else would be called while a change is waited for.
        group = ReentrantCallbackGroup()
        for kind, name, answer in (
            (ChangeState, "change_state", self._on_change_state),
            (GetState, "get_state", self._on_get_state),
            (GetAvailableStates, "get_available_states", self._on_get_states),
            (GetAvailableTransitions, "get_available_transitions", self._on_get_transitions),
            (GetAvailableTransitions, "get_transition_graph", self._on_get_graph),
        ):
            self._node.create_service(kind, f"~/{name}", answer, callback_group=group)

    @property
    def state(self) -> State:
        """Where the node is in its life."""
        return self._life.state

    def autostart(self) -> None:
        """Configure and then activate, unless that was changed from outside meanwhile."""

        def go_on(configured: Future[bool]) -> None:
            if configured.result() and self.state is State.INACTIVE:
                self.change(label="activate")

        self.change(label="configure").add_done_callback(go_on)

    def change(self, number: int = 0, label: str = "") -> Future[bool]:
        """Begin a change of state, by its label if there is one, else by its number.

        Returns:
            Whether it came about, once it is over; ended on the executor.

        Raises:
            LifecycleError: It is not possible now.
        """
        way = self._life.begin(number, label)
        self._tell(way)
        over: Future[bool] = Future()
        self._await(self._begun(getattr(self._actions, way.label)), lambda error: self._end(way, error, over))
        return over

    def _begun(self, action: Callable[[], Future[None] | None]) -> Future[None]:
        failed: Future[None] = Future()
        try:
            begun = action()
        except Exception as error:  # noqa: BLE001 - whatever happens, the node has to get to a state
            failed.set_exception(error)
            return failed
        if begun is None:
            failed.set_result(None)
        return begun or failed

    def _await(self, work: Future[None], then: Callable[[BaseException | None], None]) -> None:
        work.add_done_callback(lambda done: self._executor.call(lambda: then(done.exception())))

    def _end(self, way: Transition, error: BaseException | None, over: Future[bool]) -> None:
        log, self.problem = self._node.get_logger(), ""
        if error is None:
            self._tell(self._life.end(Outcome.SUCCESS))
            log.info(f"{way.label}: the node is {self.state.label}")
            over.set_result(True)
        elif isinstance(error, VlmPerceptionError):
            self.problem = f"{way.label} failed: {error}"
            self._tell(self._life.end(Outcome.FAILURE))
            log.error(f"{self.problem}; the node is {self.state.label}, {way.label} can be tried again")
            over.set_result(False)
        else:
            self.problem = f"{way.label} broke: {type(error).__name__}: {error}"
            self._tell(self._life.end(Outcome.ERROR))
            log.error(f"{self.problem}; cleaning up")
            self._await(self._begun(self._actions.cleanup), lambda worse: self._recover(worse, over))

    def _recover(self, error: BaseException | None, over: Future[bool]) -> None:
        if error is not None:
            self.problem += f"; cleaning up failed as well: {error}; start the process again"
        self._tell(self._life.end(Outcome.SUCCESS if error is None else Outcome.FAILURE))
        self._node.get_logger().error(f"{self.problem}; the node is {self.state.label}")
        over.set_result(False)

    def _tell(self, way: Transition) -> None:
        event = TransitionEvent(
            timestamp=self._node.get_clock().now().nanoseconds,
            transition=TransitionMessage(id=way.number, label=way.label),
            start_state=_state(way.start),
            goal_state=_state(way.goal),
        )
        self._events.publish(event)

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            over = self.change(request.transition.id, request.transition.label)
        except LifecycleError as error:
            self._node.get_logger().warning(str(error))
            response.success = False
            return response
        await Done(over, self._executor)
        response.success = over.result()
        return response

    def _on_get_state(self, _: GetState.Request, response: GetState.Response) -> GetState.Response:
        response.current_state = _state(self.state)
        return response

    def _on_get_states(
        self, _: GetAvailableStates.Request, response: GetAvailableStates.Response
    ) -> GetAvailableStates.Response:
        response.available_states = [_state(state) for state in State]
        return response

    def _on_get_transitions(
        self, _: GetAvailableTransitions.Request, response: GetAvailableTransitions.Response
    ) -> GetAvailableTransitions.Response:
        response.available_transitions = [_described(way) for way in self._life.available]
        return response

    def _on_get_graph(
        self, _: GetAvailableTransitions.Request, response: GetAvailableTransitions.Response
    ) -> GetAvailableTransitions.Response:
        response.available_transitions = [_described(way) for way in TRANSITIONS]
        return response


def _state(state: State) -> StateMessage:
    return StateMessage(id=state.value, label=state.label)


def _described(way: Transition) -> TransitionDescription:
    return TransitionDescription(
        transition=TransitionMessage(id=way.number, label=way.label),
        start_state=_state(way.start),
        goal_state=_state(way.goal),
    )
