"""The ROS node: wires topics, parameters and states to the worker, and decides nothing itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import psutil
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from vlm_perception.engines.base import Engine
from vlm_perception.engines.factory import make_engine
from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.diagnostics.clock_watch import ClockWatch
from vlm_perception.ros.diagnostics.hang_guard import HangGuard
from vlm_perception.ros.diagnostics.message import diagnostics_message
from vlm_perception.ros.diagnostics.name_watch import NameWatch
from vlm_perception.ros.diagnostics.qos_watch import QosWatch
from vlm_perception.ros.diagnostics.snapshot import NodeSnapshot
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.inputs.cameras import Cameras
from vlm_perception.ros.inputs.depth import resolve_depth
from vlm_perception.ros.inputs.prompt_topic import PromptTopic
from vlm_perception.ros.lifecycle.model import ModelLifecycle
from vlm_perception.ros.lifecycle.services import LifecycleServices
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.ros.memory.keeper import MemoryKeeper
from vlm_perception.ros.outputs.publishers import Outputs
from vlm_perception.ros.outputs.reporter import Reporter
from vlm_perception.ros.outputs.track_reporter import TrackReporter
from vlm_perception.ros.parameters import unknown_overrides
from vlm_perception.ros.python_log import forward_python_log
from vlm_perception.ros.services import Services
from vlm_perception.ros.spin import leave, run
from vlm_perception.settings import Settings
from vlm_perception.startup.environment import describe_environment
from vlm_perception.worker.tracking import Tracking
from vlm_perception.worker.worker import Worker

if TYPE_CHECKING:
    from vlm_perception.ros.goal_server import GoalServer

_WATCH_PERIOD_S = 0.25
_STOP_TIMEOUT_S = 1.5


class VlmPerceptionNode(Node):
    """Finds what `~/prompt` says in the images of `image`.

    Args:
        engine: Model to use; None makes the one that the parameters ask for.
        node_arguments: Passed on to `rclpy.node.Node`, such as `parameter_overrides`.

    Raises:
        SettingsError: A parameter's start value or the prompts file cannot be used.
    """

    def __init__(self, engine: Engine | None = None, **node_arguments: Any) -> None:
        super().__init__("vlm_perception", **node_arguments)
        try:
            self._build(engine)
        except BaseException:
            # Half a node would stay in the graph, and another one of its name could not log.
            self.destroy_node()
            raise

    def _build(self, engine: Engine | None) -> None:
        self._shared = context = NodeContext.of(self)
        self._engine = engine or make_engine(lambda: context.settings)
        self._outputs = Outputs(self, self._on_bad_transform, lambda: context.settings.kept_images_bytes)
        self._model = ModelLifecycle(context, self._engine)
        self._memory = MemoryKeeper(context, self._outputs)
        reporter = Reporter(context, self._outputs, self._model.on_engine, self._memory.take)
        self._tracking = Tracking(context.settings, TrackReporter(context, self._outputs))
        self._worker = Worker(self._engine, context.settings, reporter, tracking=self._tracking)
        self._worker.deactivate()
        self._cameras = Cameras(context, self._worker, reporter.on_drop)
        self._take_cameras(context.settings)
        self._lifecycle = LifecycleServices(context, self)
        self._prompts = PromptTopic(context, self._worker, self._cameras, self._lifecycle)
        Services(context, self._worker, self._cameras, reporter)
        self._goals = self._offer_goals(reporter)
        self._hang, self._qos = HangGuard(context, self._worker), QosWatch(context)
        self._names, self._clock_watch = NameWatch(context), ClockWatch(context)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = steady_timer(self, context.settings.diagnostics_period_s, self._publish_diagnostics)
        steady_timer(self, _WATCH_PERIOD_S, self._watch)
        context.parameters.on_change(self._prepare, self._locked)
        self._greet()
        if context.settings.autostart:
            self._lifecycle.autostart()

    @property
    def node(self) -> Node:
        """See `Runnable`."""
        return self

    @property
    def state(self) -> State:
        """Where the node is in its life."""
        return self._lifecycle.state

    @property
    def finished(self) -> bool:
        """See `Runnable`; a node that was shut down stays, as ROS nodes do, until its process is ended."""
        return False

    def close(self, timeout_s: float = _STOP_TIMEOUT_S) -> bool:
        """Abort a running generation, end the worker, close the memory and destroy the node.

        Returns:
            Whether all threads have ended; a model being loaded cannot be interrupted, and a disk may hang.
        """
        ended = self._worker.stop(timeout_s)
        if self._goals is not None:
            self._goals.close()
        ended = self._memory.end(timeout_s) and ended
        self.destroy_node()
        return ended

    # What `LifecycleServices` asks for, on the executor.

    def configure(self) -> Future[None]:
        """Load the model on the worker's thread, and offer the results' topics once it is there."""
        self._prompts.reload()
        # Beside the model: what is remembered can be asked for while that is loaded, and if it cannot be.
        self._memory.open(self._shared.settings)
        self._take_cameras(self._shared.settings)
        return self._model.load(self._worker, self._use_outputs)

    def activate(self) -> None:
        """Listen to the cameras and answer."""
        self._worker.activate()
        self._cameras.use(self._topics, self._shared.settings.frame_policy == "every")
        # Whom it hears already is in the log.
        if waiting := [topic for topic in self._cameras.topics if not self.count_publishers(topic)]:
            self.get_logger().info(f"waiting for a camera on {', '.join(waiting)}")

    def deactivate(self) -> None:
        """Abort the running answer and listen to no camera; the model stays loaded."""
        self._worker.deactivate()
        self._cameras.use((), False)

    def cleanup(self) -> Future[None]:
        """Free the model, close the memory and take the results' topics away."""
        self.deactivate()
        self._memory.close()
        return self._model.free(self._worker, lambda: self._outputs.use(()))

    def shutdown(self) -> Future[None]:
        """End for good what `cleanup` ends."""
        return self.cleanup()

    # On the executor.

    def _offer_goals(self, reporter: Reporter) -> GoalServer | None:
        """Offer what programs ask by where its interfaces are built; the node is of use without them."""
        try:
            from vlm_perception.ros.goal_server import GoalServer
            from vlm_perception.ros.goals import Goals
            from vlm_perception.ros.memory.services import MemoryServices
        except ImportError as error:
            # An older one lacks some of them.
            if (error.name or "").partition(".")[0] != "vlm_perception_msgs":
                raise
            self._shared.counters.total.count_error("no_goals")
            remedy = "run `make setup`, or build it by colcon as in docs/robot.md"
            self.get_logger().warning(
                f"there is no ~/detect, ~/detect_at, ~/where_is and ~/forget: no vlm_perception_msgs of this version "
                f"({error}); {remedy}"
            )
            return None
        context, worker, cameras = self._shared, self._worker, self._cameras
        MemoryServices(context, self._memory)
        goals = Goals(context, worker, cameras, self._prompts, self._outputs, reporter, self._memory.take)
        return GoalServer(context, worker, cameras, goals)

    def _greet(self) -> None:
        """Say where the node runs, and which of its parameters mean nothing."""
        self._shared.info("; ".join(describe_environment().splitlines()))
        for name, advice in unknown_overrides(self).items():
            self._shared.counters.total.count_error("unknown_parameter")
            self.get_logger().warning(f"there is no parameter {name}, which was set to {advice}")

    def _take_cameras(self, settings: Settings) -> None:
        """Count, and share out turns, for the cameras that the settings name."""
        self._topics = self._cameras.resolve(settings)
        self._depths = resolve_depth(self, settings, self._topics)
        weights = settings.camera_weights or (1.0,) * len(self._topics)
        self._shared.counters.use(self._topics)
        self._worker.set_cameras(dict(zip(self._topics, weights, strict=True)))

    def _use_outputs(self) -> None:
        self._outputs.use(self._topics, self._depths, self._shared.settings.target_frame)

    def _on_bad_transform(self, text: str) -> None:
        count = self._shared.counters.total.count_error("bad_transform")
        self._shared.warn("bad_transform", f"{text} ({count} so far)")

    def _watch(self) -> None:
        self._cameras.look_after()
        self._model.tell_loading()

    def _prepare(self, old: Settings, new: Settings) -> Callable[[], None]:
        """See `LiveSettings.on_change`: what may be refused comes first."""
        resolve_depth(self, new, self._cameras.resolve(new))
        text = new.prompt if new.prompt != old.prompt else self._prompts.text
        prompts = self._prompts.read(text, new)

        def commit() -> None:
            self._take_cameras(new)
            if self.state in (State.INACTIVE, State.ACTIVE):
                self._use_outputs()
            if self.state is State.ACTIVE:
                self._cameras.use(self._topics, new.frame_policy == "every")
            if new.prompt != old.prompt or new.task != old.task:
                self._prompts.use(text, prompts)
            if new.diagnostics_period_s != old.diagnostics_period_s:
                self._diagnostics_timer.timer_period_ns = round(new.diagnostics_period_s * 1e9)
            self._worker.apply(new)

        return commit

    def _locked(self) -> str:
        """See `LiveSettings.on_change`."""
        state = self.state
        return "" if state is State.UNCONFIGURED else f"it is {state.label}: deactivate it and clean it up first"

    def _publish_diagnostics(self) -> None:
        settings = self._shared.settings
        snapshot = NodeSnapshot(
            lifecycle=self.state,
            problem=self._lifecycle.problem,
            engine_state=self._worker.state,
            engine={"name": self._engine.name, **self._engine.describe()},
            prompts=self._worker.prompts,
            silent_s=self._cameras.silent_s(),
            total=self._shared.counters.total.report(),
            cameras=self._shared.counters.reports(),
            policy=settings.frame_policy,
            paused=self._worker.paused,
            max_age_s=settings.max_age_s,
            no_image_warning_s=settings.no_image_warning_s,
            budget=self._worker.budget,
            lowered=self._worker.lowered,
            asking_s=self._worker.asking_s,
            hang=self._hang.text,
            namesakes=self._names.text,
            qos_mismatches=self._qos.texts,
            tracking=self._tracking.report(),
            memory=self._memory.report(),
            resident_mb=psutil.Process().memory_info().rss / 1e6,
        )
        name, stamp = self.get_fully_qualified_name(), self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics_message(name, snapshot, stamp))


def _node_of_this_process() -> VlmPerceptionNode:
    node = VlmPerceptionNode()
    forward_python_log(node.get_logger())
    return node


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM, then end the process; returns only when it could not start."""
    # The node says itself how far loading is; a bar belongs to no log. The libraries read it when they are imported.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    exit_code = run("vlm_perception", _node_of_this_process, args)
    if exit_code == 0:
        # Everything is closed; torch alone would take a second or two to unload.
        leave(0)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
