"""Keeps the node's memory: opens its file, tells it of answers and shows it, all on a thread of its own.

A disk may take its time, or hang: neither publications nor the executor wait for it. What cannot be written is counted
and told, and the next answer tries again.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import TypeVar

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from visualization_msgs.msg import MarkerArray

from vlm_perception.errors import MemoryFileError, NoAnswerError
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

_T = TypeVar("_T")
_MARKERS_PERIOD_S = 1.0
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
        self._memory: Memory | None = None
        self._objects, self._problem = 0, ""
        self._lock, self._waiting = threading.Lock(), 0
        # Told before the file is open: what is answered meanwhile is remembered once it is.
        self._is_wanted = False
        self._is_shown = True
        node = context.node
        self._markers = node.create_publisher(
            MarkerArray, "~/memory_markers", _LATCHED, event_callbacks=quiet_publisher()
        )
        steady_timer(node, _MARKERS_PERIOD_S, self._show)

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
        if frame.header.stamp_sec < 0 or (frame.header.stamp_sec, frame.header.stamp_nanosec) == (0, 0):
            self._count("no_stamp", f"an answer was not remembered: images of {frame.camera} have no stamp; set it")
            return
        with self._lock:
            is_full = self._waiting >= _MOST_WAITING
            self._waiting += not is_full
        if is_full:
            self._count("skipped", f"an answer was not remembered: {_MOST_WAITING} wait for the disk, the limit")
            return
        view = self._outputs.field_of_view(result.request, self._context.settings.depth_tolerance_s)
        self._thread.submit(self._contained, lambda: self._look(result, places, view))

    def ask(self, question: Callable[[Memory], _T]) -> Future[_T]:
        """Have a question answered on the memory's thread.

        Returns:
            The answer; or NoAnswerError where there is no memory, or MemoryFileError.
        """
        return self._thread.submit(self._answer, question)

    # On the executor.

    def _show(self) -> None:
        """Publish what is remembered, if that has changed since and somebody looks."""
        if not self._is_shown and self._markers.get_subscription_count() > 0:
            self._is_shown = True
            self._thread.submit(self._contained, self._publish)

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
        if not settings.memory_file:
            return
        memory = Memory(
            Path(os.path.expanduser(settings.memory_file)),
            max_objects=settings.memory_max_objects,
            merge_distance_m=settings.memory_merge_distance_m,
        )
        try:
            memory.check_frame(settings.target_frame)
            self._objects = len(memory.objects())
        except BaseException:
            memory.close()
            raise
        self._memory, self._is_shown = memory, False
        self._context.info(f"{self._objects} things are remembered in {settings.memory_file}")

    def _close(self) -> None:
        memory, self._memory = self._memory, None
        self._objects, self._problem, self._is_shown = 0, "", self._is_shown and memory is None
        if memory is not None:
            memory.close()

    def _look(self, result: Result, places: Places, view: Callable[[], FieldOfView | None]) -> None:
        with self._lock:
            self._waiting -= 1
        memory = self._memory
        glance = None if memory is None else glance_of(result, places, view())
        if memory is None or glance is None:
            return
        changes, self._problem = memory.look(glance), ""
        self._objects += len(changes.new) - len(changes.gone)
        self._is_shown = self._is_shown and not changes

    def _answer(self, question: Callable[[Memory], _T]) -> _T:
        memory = self._memory
        if memory is None:
            raise NoAnswerError(self._problem or _OFF)
        try:
            answer, objects = question(memory), len(memory.objects())
        except MemoryFileError as error:
            self._count(error.cause, str(error))
            raise
        # Another program may have cleared the file, too.
        self._is_shown, self._objects = self._is_shown and objects == self._objects, objects
        return answer

    def _publish(self) -> None:
        memory = self._memory
        self._markers.publish(memory_markers(() if memory is None else memory.objects()))
