"""Keeps the node's memory: opens its file, tells it of answers and shows it, all on a thread of its own.

A disk may take its time, or hang: neither publications nor the executor wait for it. Each answer that cannot be written
is counted and told, and the next one tries again; a file that could not be opened is tried at most once a second, and
one that is no memory of this node only when the node is configured again.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from visualization_msgs.msg import MarkerArray

from vlm_perception.errors import MemoryFileError, NoAnswerError, VlmPerceptionError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.diagnostics.snapshot import MemoryReport
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.memory.glances import glance_of
from vlm_perception.ros.memory.markers import memory_markers
from vlm_perception.ros.outputs.publishers import Outputs
from vlm_perception.ros.qos import quiet_publisher
from vlm_perception.settings import Settings
from vlm_perception.types import Result
from vlm_perception.world.field_of_view import FieldOfView
from vlm_perception.world.lift import Places
from vlm_perception.world.memory import Memory
from vlm_perception.world.remembered import LATEST_NS

_T = TypeVar("_T")
_FOLLOW_PERIOD_S = 1.0
# A disk may be mounted after boot, or have room by then; what is wrong otherwise stays so.
_TRY_AGAIN_S = 1.0
_MAY_PASS = ("full", "busy", "unwritable")
# Each holds its image and its depth. A disk that is so far behind does not catch up.
_MOST_WAITING = 16
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_OFF = "nothing is remembered: set memory_file, with depth_topics and target_frame, and configure the node"


class MemoryKeeper:
    """The node's memory, which is empty until it is opened, and publishes `~/memory_markers`.

    Args:
        context: Of the node.
        outputs: Know what was in view of an image.
    """

    def __init__(self, context: NodeContext, outputs: Outputs) -> None:
        self._context, self._outputs = context, outputs
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vlm_perception_memory")
        # What the thread alone changes.
        self._wanted: Settings | None = None
        self._memory: Memory | None = None
        self._failure: MemoryFileError | None = None
        self._try_again_s = 0.0
        self._version: int | None = None
        self._objects, self._problem, self._is_shown = 0, "", True
        self._lock, self._waiting = threading.Lock(), 0
        # Told before the file is open: what is answered meanwhile is remembered once it is.
        self._is_wanted = False
        self._following: Future[None] | None = None
        node = context.node
        self._markers = node.create_publisher(
            MarkerArray, "~/memory_markers", _LATCHED, event_callbacks=quiet_publisher()
        )
        steady_timer(node, _FOLLOW_PERIOD_S, self._follow_soon)

    def open(self, settings: Settings) -> None:
        """Begin to open the file that the settings name, in place of one that is open."""
        self._is_wanted = bool(settings.memory_file)
        self._thread.submit(self._contained, lambda: self._open(settings))

    def close(self) -> None:
        """Begin to close the file; what came before is written first."""
        self._is_wanted = False
        self._thread.submit(self._contained, self._close)

    def end(self, timeout_s: float) -> bool:
        """Close the file for good, before the node is destroyed; False when the disk did not end in time."""
        self._is_wanted = False
        closed = self._thread.submit(self._contained, self._close)
        self._thread.shutdown(wait=False)
        try:
            closed.result(timeout_s)
        except FutureTimeoutError:
            return False
        return True

    def report(self) -> MemoryReport:
        """Tell how it is; on any thread."""
        return MemoryReport(None if self._memory is None else self._objects, self._problem)

    def take(self, result: Result, places: Places | None) -> None:
        """Remember a whole answer that was told, soon; on the thread that told it."""
        frame = result.request.frame
        if not self._is_wanted or places is None:
            return
        if not 0 < frame.header.stamp_ns <= LATEST_NS:
            what = f"images of {frame.camera} have no stamp that is a time ({frame.header.stamp_ns} ns); set it"
            self._count("no_stamp", f"an answer was not remembered: {what}")
            return
        with self._lock:
            is_full = self._waiting >= _MOST_WAITING
            self._waiting += not is_full
        if is_full:
            self._count("skipped", f"an answer was not remembered: {_MOST_WAITING} wait for the disk, the limit")
            return
        tolerance_s = self._context.settings.depth_tolerance_s
        view = self._outputs.field_of_view(result.request, tolerance_s, places.frame_id)
        # The node may just be ending.
        with suppress(RuntimeError):
            self._thread.submit(self._contained, lambda: self._look(result, places, view))

    def ask(self, question: Callable[[Memory], _T]) -> Future[_T]:
        """Have a question answered on the memory's thread.

        Returns:
            The answer; or NoAnswerError where there is no memory, or MemoryFileError.
        """
        return self._thread.submit(self._answer, question)

    # On the executor.

    def _follow_soon(self) -> None:
        """Have the thread look for what has changed; a disk that hangs is not asked twice."""
        if self._following is None or self._following.done():
            with suppress(RuntimeError):
                self._following = self._thread.submit(self._contained, self._follow)

    # On the memory's own thread.

    def _contained(self, work: Callable[[], None]) -> None:
        try:
            work()
        except MemoryFileError as error:
            self._problem = str(error)
            self._count(error.cause, self._problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next answer may be remembered
            self._problem = f"the memory failed: {type(error).__name__}: {error}"
            self._count("failed", "".join(traceback.format_exception(error)))

    def _count(self, cause: str, text: str) -> None:
        count = self._context.counters.total.count_error("memory")
        self._context.warn(f"memory_{cause}", f"{text} ({count} so far)")

    def _open(self, settings: Settings) -> None:
        self._close()
        if settings.memory_file:
            self._wanted = settings
            self._opened()

    def _opened(self) -> Memory:
        """Return the memory, and open its file where that was not possible before and may be by now.

        Raises:
            NoAnswerError: None is wanted.
            MemoryFileError: The file cannot be opened, or could not be a moment ago.
        """
        if self._memory is not None:
            return self._memory
        if self._wanted is None:
            raise NoAnswerError(_OFF)
        failure = self._failure
        if failure is not None and (failure.cause not in _MAY_PASS or time.monotonic() < self._try_again_s):
            raise MemoryFileError(str(failure), cause=failure.cause)
        try:
            self._memory = _memory(self._wanted)
        except MemoryFileError as error:
            self._failure, self._try_again_s = error, time.monotonic() + _TRY_AGAIN_S
            raise
        self._failure, self._problem = None, ""
        self._objects = self._memory.count()
        self._context.info(f"{self._objects} things are remembered in {self._wanted.memory_file}")
        return self._memory

    def _close(self) -> None:
        memory, self._memory = self._memory, None
        self._wanted = self._failure = self._version = None
        self._objects, self._problem, self._is_shown = 0, "", self._is_shown and memory is None
        if memory is not None:
            memory.close()

    def _look(self, result: Result, places: Places, view: Callable[[], FieldOfView | None]) -> None:
        with self._lock:
            self._waiting -= 1
        if self._wanted is None or (glance := glance_of(result, places, view())) is None:
            return
        self._opened().look(glance)
        self._problem = ""

    def _answer(self, question: Callable[[Memory], _T]) -> _T:
        try:
            return question(self._opened())
        except MemoryFileError as error:
            self._count(error.cause, str(error))
            raise
        except VlmPerceptionError:
            raise
        except Exception as error:
            # Such as damage that came while the file was open: who asks is told, and the node lives on.
            self._count("failed", "".join(traceback.format_exception(error)))
            raise NoAnswerError(f"the memory failed: {type(error).__name__}: {error}") from error

    def _follow(self) -> None:
        """Count what is remembered, and show it to whoever looks, if it has changed; another program may clear it."""
        memory = self._memory
        try:
            if memory is not None and (version := memory.version()) != self._version:
                self._version, self._objects, self._is_shown = version, memory.count(), False
            if not self._is_shown and self._markers.get_subscription_count() > 0:
                self._is_shown = True
                self._markers.publish(memory_markers(() if memory is None else memory.objects()))
        except MemoryFileError as error:
            # Told, and not counted each second: no answer is lost by it.
            self._problem = str(error)


def _memory(settings: Settings) -> Memory:
    """Open the file that the settings name.

    Raises:
        MemoryFileError: It cannot be used, or is in another frame than the settings.
    """
    memory = Memory(
        Path(os.path.expanduser(settings.memory_file)),
        max_objects=settings.memory_max_objects,
        merge_distance_m=settings.memory_merge_distance_m,
    )
    try:
        memory.check_frame(settings.target_frame)
    except BaseException:
        memory.close()
        raise
    return memory
