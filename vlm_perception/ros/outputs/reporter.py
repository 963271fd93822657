"""What the worker reports -> messages, counters and log lines. Called on the worker's thread unless noted."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from rclpy.node import Node

from vlm_perception.engines.base import EngineState
from vlm_perception.errors import ImageError, VlmPerceptionError
from vlm_perception.ros.counters import CountersByCamera
from vlm_perception.ros.diagnostics.frame_age import FrameAge, frame_age
from vlm_perception.ros.diagnostics.recovery import Recovery
from vlm_perception.ros.outputs.publishers import Outputs
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.types import Result
from vlm_perception.worker.listener import Deliver

_WARNING_PERIOD_S = 5.0


class Reporter:
    """The worker's listener.

    Args:
        node: Its clock and its log.
        outputs: The publishers.
        health: The counters.
        recovery: Hears of what the node gets over by itself.
        jpeg_quality: Tells the quality of compressed pictures, 1 to 100.
        on_engine: Hears about the model's state; on the worker's thread.
    """

    def __init__(
        self,
        node: Node,
        outputs: Outputs,
        health: CountersByCamera,
        recovery: Recovery,
        jpeg_quality: Callable[[], int],
        on_engine: Callable[[EngineState, str], None],
    ) -> None:
        self._node, self._outputs, self._health = node, outputs, health
        self._recovery = recovery
        self._jpeg_quality, self._on_engine = jpeg_quality, on_engine
        self._throttle = Throttle(_WARNING_PERIOD_S)

    def on_state(self, state: EngineState, detail: str) -> None:
        """See `WorkerListener`."""
        if state is EngineState.FAILED:
            self._health.total.count_error("model_load")
        self._on_engine(state, detail)

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        latency_s, age_s = self.times_of(result)
        outputs = self._outputs.of(result.request.frame.camera)
        if outputs is not None:
            deliver(lambda: outputs.publish_answer(result, latency_s, age_s))

    def on_result(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        latency_s, age_s = self.times_of(result)
        outputs = self._outputs.of(result.request.frame.camera)
        if outputs is None or not deliver(lambda: outputs.publish_answer(result, latency_s, age_s)):
            return
        weak = sum(reject.score is not None for reject in result.rejects)
        self._health.count_answer(
            result.request.frame.camera, latency_s, age_s, len(result.rejects), weak, len(result.objects)
        )
        self._note_age(result)
        self._recovery.note_result(result)
        if result.answer.finish_reason == "repetition":
            count = self._health.total.count_repetition()
            self.warn("repetition", f"the model repeated itself; its answer was ended early ({count} so far)")
        try:
            publish_picture = outputs.drawn(result, self._jpeg_quality())
        except ImageError as error:
            self._health.total.count_error(error.cause)
            self.warn(error.cause, str(error))
            return
        if publish_picture is not None:
            deliver(publish_picture)

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """See `WorkerListener`; bad images come from the executor."""
        count = self._health.count_drop(camera, cause)
        if error is None:
            return
        text = str(error) if isinstance(error, VlmPerceptionError) else "".join(traceback.format_exception(error))
        self.warn(cause, f"image of {camera} dropped ({cause}, {count} so far): {text}")

    def on_out_of_memory(self, text: str) -> None:
        """See `WorkerListener`."""
        self._recovery.note_out_of_memory(text)

    def on_more_pixels(self, text: str) -> None:
        """See `WorkerListener`."""
        self._recovery.note_more_pixels(text)

    def times_of(self, result: Result) -> tuple[float, float | None]:
        """Return the seconds since the image's arrival and since its stamp, None if that cannot tell; on any thread."""
        return time.monotonic() - result.request.frame.received_s, self._age_of(result).age_s

    def _age_of(self, result: Result) -> FrameAge:
        frame = result.request.frame
        return frame_age(frame.header, self._node.get_clock().now().nanoseconds * 1e-9, frame.camera)

    def _note_age(self, result: Result) -> None:
        age = self._age_of(result)
        if age.problem:
            count = self._health.total.count_error(age.problem)
            self.warn(age.problem, f"{age.text} ({count} answers so far)")

    def warn(self, kind: str, text: str) -> None:
        """Log a warning, each kind at most every 5 s; on any thread."""
        if self._throttle.allows(kind):
            self._node.get_logger().warning(text)
