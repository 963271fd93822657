"""Says so when the model hangs, and ends the process where `hang_exit_s` asks for it."""

from __future__ import annotations

from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.spin import RESPAWN_EXIT_CODE, leave
from vlm_perception.worker.timeouts import HangWatch
from vlm_perception.worker.worker import Worker

_LOOK_PERIOD_S = 0.25


class HangGuard:
    """Looks at the running pass of the worker.

    Attributes:
        text: What is wrong now and what to do; empty while the model does not hang.
    """

    def __init__(self, context: NodeContext, worker: Worker) -> None:
        self._context, self._worker, self._watch = context, worker, HangWatch()
        self.text = ""
        steady_timer(context.node, _LOOK_PERIOD_S, self._look)

    def _look(self) -> None:
        exit_s = self._context.settings.hang_exit_s
        hang = self._watch.look(self._worker.running, exit_s)
        if hang is None:
            if self.text:
                self._context.info("the model has come back")
            self.text = ""
            return
        self.text = hang.text
        if hang.is_new:
            self._context.counters.total.count_error("hang")
        if hang.must_end:
            over = f"more than hang_exit_s {exit_s:g} beyond it"
            fatal = f"{hang.text}: {over}, ending the process with exit code {RESPAWN_EXIT_CODE}"
            self._context.node.get_logger().fatal(fatal)
            leave(RESPAWN_EXIT_CODE)
        self._context.error("hang", hang.text)
