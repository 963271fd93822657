"""The ROS node: wires topics and parameters to the worker, and decides nothing itself."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from vlm_perception.deferred_engine import DeferredEngine
from vlm_perception.engines.base import Engine
from vlm_perception.environment import describe_environment
from vlm_perception.errors import ImageError, PromptError, VlmPerceptionError
from vlm_perception.health import CameraHealth
from vlm_perception.prompts import load_prompts
from vlm_perception.ros.cameras import Cameras
from vlm_perception.ros.diagnostics import Diagnostics, NodeState
from vlm_perception.ros.image_messages import arrival_of
from vlm_perception.ros.parameters import LiveSettings
from vlm_perception.ros.prompts_in import PromptInbox
from vlm_perception.ros.publishers import ActivePrompt, Outputs
from vlm_perception.ros.qos_watch import QosWatch
from vlm_perception.ros.result_messages import answer_json
from vlm_perception.ros.running import leave, run
from vlm_perception.ros.services import Services
from vlm_perception.ros.timers import steady_timer
from vlm_perception.scheduling import Throttle
from vlm_perception.settings import Settings
from vlm_perception.standing import parse_prompts
from vlm_perception.types import Prompt, Result
from vlm_perception.worker import Deliver, EngineState, Worker

_WARNING_PERIOD_S = 5.0
_WATCH_PERIOD_S = 0.25
_STOP_TIMEOUT_S = 1.5


class VlmPerceptionNode(Node):
    """Finds what `~/prompt` says in the images of `image`.

    Args:
        engine: Model to use; None makes a `TransformersEngine` from the parameters.
        node_arguments: Passed on to `rclpy.node.Node`, such as `parameter_overrides`.

    Raises:
        SettingsError: A parameter's start value or the prompts file cannot be used.
    """

    def __init__(self, engine: Engine | None = None, **node_arguments: Any) -> None:
        super().__init__("vlm_perception", **node_arguments)
        self._settings = LiveSettings(self)
        settings = self._settings.current
        self._prompts = load_prompts(settings.prompts_file)
        self._engine = engine or DeferredEngine(settings.model, lambda: _transformers_engine(settings))
        self._engine_detail = ""
        self._health = CameraHealth()
        self._throttle = Throttle(_WARNING_PERIOD_S)
        self._active, self._outputs = ActivePrompt(self), Outputs(self)
        self._worker = Worker(self._engine, settings, self)
        self._cameras = Cameras(self, settings.image_transport, self._on_image)
        self._use_cameras(self._cameras.resolve(settings.image_topics or ("image",)), settings)
        steady_timer(self, _WATCH_PERIOD_S, self._look_after_cameras)
        self._qos = QosWatch(self, lambda: self._health.total.count_error("qos_mismatch"))
        self._diagnostics = Diagnostics(self.get_fully_qualified_name())
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = steady_timer(self, settings.diagnostics_period_s, self._publish_diagnostics)
        self._activate(settings.prompt, self._prompts_in(settings.prompt, settings))
        self._settings.on_change(self._on_settings)
        PromptInbox(self, "~/prompt", self._on_prompt)
        Services(
            self,
            self._worker,
            lambda result: answer_json(result, *self._times_of(result)),
            lambda: min(self._cameras.silent_s().values()),
            lambda: self._settings.current.no_image_warning_s,
            self._cameras.want_image,
        )
        self.get_logger().info(describe_environment())
        self.get_logger().info(f"loading the model {self._engine.name}; looking at {', '.join(self._cameras.topics)}")
        self._worker.start()

    @property
    def node(self) -> Node:
        """See `Runnable`."""
        return self

    @property
    def finished(self) -> bool:
        """See `Runnable`; it has always something to do."""
        return False

    def close(self, timeout_s: float = _STOP_TIMEOUT_S) -> bool:
        """Abort a running generation, end the worker and destroy the node.

        Returns:
            Whether the worker's thread has ended; a model being loaded cannot be interrupted.
        """
        ended = self._worker.stop(timeout_s)
        self.destroy_node()
        return ended

    # On the executor.

    def _use_cameras(self, topics: Sequence[str], settings: Settings) -> None:
        weights = settings.camera_weights or (1.0,) * len(topics)
        self._health.use(topics)
        self._worker.set_cameras(dict(zip(topics, weights, strict=True)))
        self._outputs.use(topics)
        self._cameras.use(topics, settings.frame_policy == "every")

    def _look_after_cameras(self) -> None:
        self._cameras.look_after(self._settings.current.no_image_warning_s, self._worker.asks)

    def _on_image(self, message: Image | CompressedImage, camera: str, received_s: float) -> None:
        self._health.count_frame(camera)
        try:
            self._worker.offer(arrival_of(message, camera, received_s))
        except ImageError as error:
            self.on_drop(camera, error.cause, error)

    def _on_prompt(self, text: str) -> None:
        try:
            self._activate(text, self._prompts_in(text, self._settings.current))
        except PromptError as error:
            # A slip of the pen must not stop a running detection: the old prompt stays.
            self._health.total.count_error("prompt")
            self.get_logger().error(f"{error}; going on with {self._active.text!r}")
            self._active.publish(self._active.text)
        else:
            if self._worker.state is EngineState.FAILED:
                self.get_logger().error(f"the prompt cannot be answered: {self._engine_detail}")

    def _on_settings(self, old: Settings, new: Settings) -> None:
        # What may be refused comes first, so that a refused change changes nothing.
        topics = self._cameras.resolve(new.image_topics or ("image",))
        text = new.prompt if new.prompt != old.prompt else self._active.text
        prompts = self._prompts_in(text, new)
        self._use_cameras(topics, new)
        if new.prompt != old.prompt or new.task != old.task:
            self._activate(text, prompts)
        if new.diagnostics_period_s != old.diagnostics_period_s:
            self._diagnostics_timer.timer_period_ns = round(new.diagnostics_period_s * 1e9)
        self._worker.apply(new)

    def _publish_diagnostics(self) -> None:
        state = NodeState(
            engine_state=self._worker.state,
            engine_detail=self._engine_detail,
            engine={"name": self._engine.name, **self._engine.describe()},
            prompts=self._worker.prompts,
            silent_s=self._cameras.silent_s(),
            cameras=self._health.reports(),
            policy=self._settings.current.frame_policy,
            paused=self._worker.paused,
            no_image_warning_s=self._settings.current.no_image_warning_s,
            qos_mismatches=self._qos.texts,
        )
        stamp = self.get_clock().now().to_msg()
        self._diagnostics_publisher.publish(self._diagnostics.message(self._health.total.report(), state, stamp))

    def _prompts_in(self, text: str, settings: Settings) -> tuple[Prompt, ...]:
        return parse_prompts(text, self._prompts.build, settings.task)

    def _activate(self, text: str, prompts: tuple[Prompt, ...]) -> None:
        if self._worker.set_prompts(prompts):
            self._cameras.want_image()
            log = self.get_logger()
            for prompt in prompts:
                log.info(f"looking for {prompt.text!r} ({prompt.task.value})")
            if not prompts:
                log.info("detection stopped: no prompt")
            neutralised = sum(prompt.neutralised for prompt in prompts)
            if neutralised:
                count = self._health.total.count_error("prompt_chat_tokens", neutralised)
                self._warn("prompt_chat_tokens", f"chat tokens in a prompt were made harmless ({count} so far)")
        self._active.publish(text.strip())

    # On the worker's thread.

    def on_state(self, state: EngineState, detail: str) -> None:
        """See `WorkerListener`."""
        self._engine_detail = detail
        if state is EngineState.FAILED:
            self._health.total.count_error("model_load")
            self.get_logger().fatal(f"the model cannot be used: {detail}")
        elif state is EngineState.READY:
            self._cameras.want_image()
            facts = ", ".join(f"{key} {value}" for key, value in self._engine.describe().items())
            self.get_logger().info(f"the model is ready: {facts}")

    def on_partial(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        latency_s, age_s = self._times_of(result)
        outputs = self._outputs.of(result.request.frame.camera)
        if outputs is not None:
            deliver(lambda: outputs.publish_answer(result, latency_s, age_s))

    def on_result(self, result: Result, deliver: Deliver) -> None:
        """See `WorkerListener`."""
        latency_s, age_s = self._times_of(result)
        outputs = self._outputs.of(result.request.frame.camera)
        if outputs is None or not deliver(lambda: outputs.publish_answer(result, latency_s, age_s)):
            return
        self._cameras.had_answer(result.request.frame.camera)
        weak = sum(reject.score is not None for reject in result.rejects)
        self._health.count_answer(result.request.frame.camera, latency_s, age_s, len(result.rejects), weak)
        if result.answer.finish_reason == "repetition":
            count = self._health.total.count_repetition()
            self._warn("repetition", f"the model repeated itself; its answer was ended early ({count} so far)")
        try:
            publish_picture = outputs.drawn(result, self._settings.current.jpeg_quality)
        except ImageError as error:
            self._health.total.count_error(error.cause)
            self._warn(error.cause, str(error))
            return
        if publish_picture is not None:
            deliver(publish_picture)

    def _times_of(self, result: Result) -> tuple[float, float]:
        """Return the seconds since the image's arrival and since its stamp."""
        frame = result.request.frame
        stamp_s = frame.header.stamp_sec + frame.header.stamp_nanosec * 1e-9
        return time.monotonic() - frame.received_s, self.get_clock().now().nanoseconds * 1e-9 - stamp_s

    def on_drop(self, camera: str, cause: str, error: Exception | None) -> None:
        """See `WorkerListener`; bad images come from the executor."""
        count = self._health.count_drop(camera, cause)
        if error is None:
            return
        text = str(error) if isinstance(error, VlmPerceptionError) else "".join(traceback.format_exception(error))
        self._warn(cause, f"image of {camera} dropped ({cause}, {count} so far): {text}")

    def _warn(self, kind: str, text: str) -> None:
        if self._throttle.allows(kind):
            self.get_logger().warning(text)


def _transformers_engine(settings: Settings) -> Engine:
    from vlm_perception.engines.transformers_engine import TransformersEngine

    return TransformersEngine.from_settings(settings)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM, then end the process; returns only when it could not start."""
    exit_code = run("vlm_perception", VlmPerceptionNode, args)
    if exit_code == 0:
        # Everything is closed; torch alone would take a second or two to unload.
        leave(0)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
