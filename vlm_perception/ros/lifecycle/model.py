"""Bringing the model up and freeing it again, on the worker's thread, as futures that end on the executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import psutil

from vlm_perception.engines.base import Engine, EngineState
from vlm_perception.errors import ModelLoadError
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.spin import RESPAWN_EXIT_CODE, leave
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.worker.worker import Worker

_LOG_PERIOD_S = 5.0
# A stage that lasts, such as a download, is a fact that was told already.
_SAME_STAGE_LOG_PERIOD_S = 60.0


class ModelLifecycle:
    """Has the worker load the engine and free it, and says how that goes.

    Args:
        context: Of the node.
        engine: Tells its name, what it is made of, and how far loading is.
    """

    def __init__(self, context: NodeContext, engine: Engine) -> None:
        self._context, self._engine = context, engine
        self._is_loading, self._throttle = False, Throttle(_LOG_PERIOD_S)
        self._stage_throttle = Throttle(_SAME_STAGE_LOG_PERIOD_S)
        self._change: Future[None] | None = None
        self._then: Callable[[], None] = lambda: None

    def load(self, worker: Worker, then: Callable[[], None]) -> Future[None]:
        """Begin to load the model.

        Args:
            worker: Loads it on its own thread.
            then: Done on the executor once it is loaded, before the future ends; what it raises ends the future.
        """
        self._context.info(f"loading the model {self._engine.name}")
        self._change, self._then = Future(), then
        worker.start()
        return self._change

    def free(self, worker: Worker, then: Callable[[], None]) -> Future[None]:
        """Begin to free the model, whether it is loaded or not; arguments as in `load`."""
        change: Future[None] = Future()
        self._change, self._then = change, then
        if worker.state in (EngineState.WAITING, EngineState.FAILED, EngineState.STOPPED):
            self._end("")
        else:
            worker.stop(0.0)
        return change

    def tell_loading(self) -> None:
        """Log how far loading is, now and then; nothing when no model is being loaded."""
        if self._is_loading and self._throttle.allows("loading"):
            stage = self._engine.describe().get("loading", "begins")
            if self._stage_throttle.allows(stage):
                self._context.info(f"loading: {stage}")

    def on_engine(self, state: EngineState, detail: str) -> None:
        """Hear about the model's state, on the worker's thread."""
        self._is_loading = state is EngineState.LOADING
        if state is EngineState.READY:
            facts = ", ".join(f"{key} {value}" for key, value in self._engine.describe().items())
            self._context.info(f"the model is ready: {facts}")
        elif state is EngineState.STOPPED:
            resident_mb = psutil.Process().memory_info().rss / 1e6
            self._context.info(f"the model is freed; the process takes {resident_mb:.0f} MB")
        if not self._is_loading:
            self._context.executor.call(lambda: self._end(detail))

    def _end(self, detail: str) -> None:
        change, self._change = self._change, None
        if change is None:
            if detail:
                self._break_down(detail)
            return
        if detail:
            self._context.counters.total.count_error("model_load")
            change.set_exception(ModelLoadError(f"the model cannot be used: {detail}"))
            return
        try:
            self._then()
        except Exception as error:  # noqa: BLE001 - told to whoever waits, as any other failure on the way
            change.set_exception(error)
        else:
            change.set_result(None)

    def _break_down(self, detail: str) -> None:
        """End the process whose model failed at work: what it has lost comes back with a new process only."""
        text = f"the model cannot be asked any more: {detail}; ending the process with exit code {RESPAWN_EXIT_CODE}"
        self._context.node.get_logger().fatal(text)
        leave(RESPAWN_EXIT_CODE)
