"""What the node gets over by itself, and how it says so: too little memory, too little time, a model that hangs."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from vlm_perception.ros.counters import Counters
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.spin import leave
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.settings import Settings
from vlm_perception.types import Result
from vlm_perception.worker.timeouts import HangWatch, RunningPass

# `EX_TEMPFAIL` of sysexits.h: try again later.
HANG_EXIT_CODE = 75
_WATCH_PERIOD_S = 0.25
_LOG_PERIOD_S = 5.0


class Recovery:
    """Counts and logs; ends the process when the model hangs and `hang_exit_s` says so.

    Args:
        node: Gets a timer and speaks.
        running: Tells the pass that the model is in, or None.
        health: Counts `out_of_memory`, `timeout` and `hang`.
        settings: Those in force.
    """

    def __init__(
        self, node: Node, running: Callable[[], RunningPass | None], health: Counters, settings: Callable[[], Settings]
    ) -> None:
        self._log, self._throttle = node.get_logger(), Throttle(_LOG_PERIOD_S)
        self._running, self._health, self._settings = running, health, settings
        self._watch = HangWatch()
        self.hang = ""
        steady_timer(node, _WATCH_PERIOD_S, self._look)

    # On the worker's thread.

    def note_out_of_memory(self, text: str) -> None:
        """Memory ran out; see `WorkerListener`."""
        count = self._health.count_error("out_of_memory")
        if self._throttle.allows("out_of_memory"):
            self._log.warning(f"{text} ({count} so far)")

    def note_more_pixels(self, text: str) -> None:
        """The model sees more again; see `WorkerListener`."""
        self._log.info(text)

    def note_result(self, result: Result) -> None:
        """An answer was published; one that was cut for its time is counted."""
        if result.answer.finish_reason != "timeout":
            return
        count = self._health.count_error("timeout")
        if self._throttle.allows("timeout"):
            self._log.warning(
                f"an answer took over timeout_s {self._settings().timeout_s:g} and was cut after "
                f"{len(result.answer.tokens)} tokens, {len(result.objects)} objects ({count} so far); raise timeout_s, "
                f"or lower max_pixels or max_new_tokens"
            )

    # On the executor.

    def _look(self) -> None:
        settings = self._settings()
        hang = self._watch.look(self._running(), settings.hang_exit_s)
        if hang is None:
            if self.hang:
                self._log.info("the model has come back")
            self.hang = ""
            return
        self.hang = hang.text
        if hang.is_new:
            self._health.count_error("hang")
        if hang.must_end:
            over = f"more than hang_exit_s {settings.hang_exit_s:g} beyond it"
            self._log.fatal(f"{hang.text}: {over}, ending the process with exit code {HANG_EXIT_CODE}")
            leave(HANG_EXIT_CODE)
        if self._throttle.allows("hang"):
            self._log.error(hang.text)
