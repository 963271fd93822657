"""Bringing the model up and freeing it again, on the worker's thread, as futures that end on the executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import psutil
from rclpy.node import Node

from vlm_perception.engines.base import Engine, EngineState
from vlm_perception.errors import ModelLoadError
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.worker.worker import Worker

_LOG_PERIOD_S = 5.0


class ModelLifecycle:
    """Starts and stops the worker, and says how that goes.

    Args:
        node: Speaks.
        worker: Loads the engine on its own thread.
        engine: Tells how far loading is.
        call_soon: Has something done on the executor.
    """

    def __init__(
        self, node: Node, worker: Worker, engine: Engine, call_soon: Callable[[Callable[[], None]], None]
    ) -> None:
        self._log, self._worker, self._engine, self._call_soon = node.get_logger(), worker, engine, call_soon
        self._throttle = Throttle(_LOG_PERIOD_S)
        self._change: Future[None] | None = None
        self._then: Callable[[], None] = lambda: None

    def load(self, then: Callable[[], None]) -> Future[None]:
        """Begin to load the model.

        Args:
            then: Done on the executor once it is loaded, before the future ends; what it raises ends the future.
        """
        self._log.info(f"loading the model {self._engine.name}")
        self._change, self._then = Future(), then
        self._worker.start()
        return self._change

    def free(self, then: Callable[[], None]) -> Future[None]:
        """Begin to free the model, whether it is loaded or not; `then` as in `load`."""
        change: Future[None] = Future()
        self._change, self._then = change, then
        if self._worker.state in (EngineState.WAITING, EngineState.FAILED, EngineState.STOPPED):
            self._end("")
        else:
            self._worker.stop(0.0)
        return change

    def tell_loading(self) -> None:
        """Log how far loading is, now and then; nothing when no model is being loaded."""
        if self._worker.state is EngineState.LOADING and self._throttle.allows("loading"):
            self._log.info(f"loading: {self._engine.describe().get('loading', 'begins')}")

    def on_engine(self, state: EngineState, detail: str) -> None:
        """Hear about the model's state, on the worker's thread."""
        if state is EngineState.READY:
            facts = ", ".join(f"{key} {value}" for key, value in self._engine.describe().items())
            self._log.info(f"the model is ready: {facts}")
        elif state is EngineState.STOPPED:
            self._log.info(f"the model is freed; the process takes {psutil.Process().memory_info().rss / 1e6:.0f} MB")
        if state is not EngineState.LOADING:
            self._call_soon(lambda: self._end(detail))

    def _end(self, detail: str) -> None:
        change, self._change = self._change, None
        if change is None:
            return
        if detail:
            change.set_exception(ModelLoadError(f"the model cannot be used: {detail}"))
            return
        try:
            self._then()
        except Exception as error:  # noqa: BLE001 - told to whoever waits, as any other failure on the way
            change.set_exception(error)
        else:
            change.set_result(None)
