"""The node's executor: timers in real time, calls from other threads, and waiting without holding it up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.timer import Timer


class OnExecutor:
    """Has functions called by the node's executor, in order, whatever thread asks for it.

    Args:
        node: Whose executor calls them.
    """

    def __init__(self, node: Node) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._guard = node.create_guard_condition(self._call_all)

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called soon; before the node is spun, once it is; never once it is destroyed."""
        self._waiting.append(function)
        # A worker that could not be ended in time has things to say to a node that is gone.
        with suppress(InvalidHandle):
            self._guard.trigger()

    def _call_all(self) -> None:
        while self._waiting:
            self._waiting.popleft()()


class Done:
    """Awaits a future of another thread.

    rclpy looks at a waiting callback whenever its executor wakes: with every message and timer, and, because it is
    woken for that, with the future.

    Args:
        future: What is waited for.
        executor: Of the node that waits.
        give_up: Looked at meanwhile; once it is true the future is cancelled.
    """

    def __init__(self, future: Future[Any], executor: OnExecutor, give_up: Callable[[], bool] = lambda: False) -> None:
        self._future, self._executor, self._give_up = future, executor, give_up

    def __await__(self) -> Generator[Any, None, None]:
        """See the class."""
        self._future.add_done_callback(lambda _: self._executor.call(lambda: None))
        while not self._future.done():
            if self._give_up():
                self._future.cancel()
            yield


def steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """Call back every `period_s` seconds of real time.

    A node's own timers follow `use_sim_time`: while a bag is stopped nothing would be watched.
    """
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
