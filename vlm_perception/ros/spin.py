"""Runs one node until it is told to stop: SIGINT and SIGTERM are a clean end with exit code 0."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

import rclpy
import rclpy.logging
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vlm_perception.errors import VlmPerceptionError

# `EX_TEMPFAIL` of sysexits.h: try again later. What a model that cannot be asked any more ends with, for respawn.
RESPAWN_EXIT_CODE = 75
# A signal cannot interrupt the wait for messages, so the wait is kept short.
_SPIN_S = 0.1


class Runnable(Protocol):
    """A part of the product that lives on a ROS node."""

    @property
    def node(self) -> Node:
        """What the executor spins."""
        ...

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        ...

    def close(self) -> bool:
        """Stop and destroy the node; False when a thread could not be ended in time."""
        ...


def run(name: str, make: Callable[[], Runnable], args: Sequence[str] | None = None) -> int:
    """Make and spin a node in the calling (main) thread.

    Args:
        name: For log lines before the node exists.
        make: Makes the node; a VlmPerceptionError is logged and ends the program.
        args: ROS arguments; None takes those of the process.

    Returns:
        The exit code: 0 after a clean end, 1 when the node could not be made.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # rclpy's own handlers would tear the context down under a running worker.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    log = rclpy.logging.get_logger(name)
    try:
        runnable = make()
    except VlmPerceptionError as error:
        log.fatal(str(error))
        rclpy.shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(runnable.node)
    while rclpy.ok() and not stop.is_set() and not runnable.finished:
        executor.spin_once(timeout_sec=_SPIN_S)
    ended = runnable.close()
    executor.shutdown()
    rclpy.try_shutdown()
    if not ended:
        # Loading a model, or one long pass on a slow CPU, cannot be interrupted; nothing is left to save.
        log.info("leaving while the model is busy")
        leave(0)
    return 0


def leave(exit_code: int) -> NoReturn:
    """End the process now, without waiting for other threads or for libraries to unload."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
