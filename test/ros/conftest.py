"""Real nodes over real DDS: each test has a ROS_DOMAIN_ID of its own and waits for events."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String
from vision_msgs.msg import Detection2DArray

from benchmarks.domains import claimed_domain
from vlm_perception.engines.base import Engine, OnText, ShouldStop, ignore_text
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.ros.node import VlmPerceptionNode
from vlm_perception.types import Answer, FinishReason, Request, Timings

# Generous, because a machine may be busy with other work; a test that passes never waits this long.
PATIENCE_S = 120.0

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture
def domain_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A domain for this test alone, in the environment too, for child processes."""
    with claimed_domain() as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        yield number


class ScriptedEngine:
    """A deterministic engine at the `Engine` seam: writes `reply` letter by letter, and can be made to think.

    Attributes:
        reply: Next raw reply; coordinates are pixels of the camera image.
        first: How many characters of it are written before it thinks.
        thinking: While set, `answer` waits until it is cleared or the answer is aborted.
        deaf: Goes on thinking and writing although the answer is aborted.
        finish_reason: Of an answer that is not aborted.
        requests: Everything that was asked.
    """

    name = "scripted"

    def __init__(self, reply: str = "[]") -> None:
        self.reply = reply
        self.first = 0
        self.deaf = False
        self.finish_reason: FinishReason = "stop"
        self.thinking = threading.Event()
        self.changed = threading.Condition()
        self.requests: list[Request] = []
        self.aborted = 0

    def load(self) -> None:
        pass

    def answer(self, request: Request, should_stop: ShouldStop, on_text: OnText = ignore_text) -> Answer:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
        reply = self.reply
        for letter in reply[: self.first]:
            on_text(letter, ())
        pause = threading.Event()
        while self.thinking.is_set() and (self.deaf or not should_stop()):
            pause.wait(0.005)
        aborted = self.thinking.is_set()
        self.aborted += aborted
        if not aborted:
            for letter in reply[self.first :]:
                on_text(letter, ())
        said, reason = (reply[: self.first], "aborted") if aborted else (reply, self.finish_reason)
        return replace(self.blank_answer(request), text=said, finish_reason=reason)

    def blank_answer(self, request: Request) -> Answer:
        return Answer("", request.frame.image_wh, "absolute", "unfinished", (), Timings(0.0, 0.0, 0.0))

    def describe(self) -> dict[str, str]:
        return {"device": "none", "source": "test"}

    def close(self) -> None:
        pass

    def wait_asked(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, PATIENCE_S), len(self.requests)


class Heard:
    """Messages of one topic, in order."""

    def __init__(self, changed: threading.Condition) -> None:
        self.messages: list[Any] = []
        self._changed = changed

    def add(self, message: Any) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait_for(self, matches: Callable[[Any], bool] = lambda _: True, timeout_s: float = PATIENCE_S) -> Any:
        """Return the first message that matches, waiting for it if need be."""

        def first() -> Any:
            return next((message for message in self.messages if matches(message)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: first() is not None, timeout_s), self.messages[-5:]
            return first()


class Robot:
    """A ROS context with its own domain, a client node, and nodes under test, all spinning."""

    def __init__(self, domain_id: int) -> None:
        self.changed = threading.Condition()
        # Two contexts are two DDS participants, as two processes would have.
        self.context, self.client_context = rclpy.Context(), rclpy.Context()
        for context in (self.context, self.client_context):
            rclpy.init(context=context, domain_id=domain_id)
        self.client = rclpy.create_node("client", context=self.client_context)
        self.nodes: list[VlmPerceptionNode] = []
        self._executors: list[SingleThreadedExecutor] = []
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self.spin(self.client)

    def spin(self, node: Any) -> None:
        """Give a node an executor and a thread of its own, as separate processes would have."""
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        self._executors.append(executor)

        def loop() -> None:
            while not self._stop.is_set():
                executor.spin_once(timeout_sec=0.05)

        self._threads.append(threading.Thread(target=loop))
        self._threads[-1].start()

    def node(
        self,
        engine: Engine | None = None,
        remap: tuple[str, ...] = (),
        reaches: State | None = State.ACTIVE,
        **parameters: Any,
    ) -> VlmPerceptionNode:
        """Start a node under test and wait until it reaches a state."""
        # Too many failures would end this very process.
        values = {"max_rate_hz": 100.0, "max_failures": 0, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        arguments = ["--ros-args", *(part for rule in remap for part in ("-r", rule))]
        node = VlmPerceptionNode(
            engine, context=self.context, parameter_overrides=overrides, cli_args=arguments if remap else None
        )
        self.nodes.append(node)
        self.spin(node)
        self.until(lambda: reaches in (None, node.state), f"the node is {reaches}")
        return node

    def hear(self, topic: str, message_type: Any, qos: Any = 50) -> Heard:
        """Subscribe and collect; returns once a publisher is there or at once for foreign topics."""
        heard = Heard(self.changed)
        self.client.create_subscription(message_type, topic, heard.add, qos)
        return heard

    def hear_log(self) -> Heard:
        """Collect the log, with what was said before."""
        kept = QoSProfile(depth=200, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return self.hear("/rosout", Log, kept)

    def until(self, condition: Callable[[], bool], what: str = "condition") -> None:
        """Wait for a condition of the ROS graph, which offers no event to a test."""
        deadline = threading.Event()
        timer = threading.Timer(PATIENCE_S, deadline.set)
        timer.start()
        pause = threading.Event()
        while not condition():
            assert not deadline.is_set(), f"timed out: {what}"
            pause.wait(0.01)
        timer.cancel()

    def stop_spinning(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def close(self) -> None:
        for node in self.nodes:
            node._worker.stop(PATIENCE_S)
        self.stop_spinning()
        for node in self.nodes:
            assert node.close(PATIENCE_S)
        self.client.destroy_node()
        for executor in self._executors:
            executor.shutdown()
        self.context.shutdown()
        self.client_context.shutdown()


class Talk:
    """Camera, prompt and everything the node says, connected."""

    def __init__(
        self,
        robot: Robot,
        *,
        camera_topic: str = "/image",
        camera_type: Any = Image,
        camera_qos: Any = 1,
        prompt_qos: Any = 10,
        is_active: bool = True,
    ) -> None:
        self.robot = robot
        client = robot.client
        self.camera = client.create_publisher(camera_type, camera_topic, camera_qos)
        self.prompt_publisher = client.create_publisher(String, "/vlm_perception/prompt", prompt_qos)
        self.detections = robot.hear("/vlm_perception/detections", Detection2DArray)
        self.answers = robot.hear("/vlm_perception/answer", String)
        self.active = robot.hear("/vlm_perception/active_prompt", String, LATCHED)
        self.diagnostics = robot.hear("/diagnostics", DiagnosticArray)
        self.logs = robot.hear_log()
        robot.until(lambda: self.prompt_publisher.get_subscription_count() > 0, "prompt connected")
        robot.until(lambda: not is_active or self.camera.get_subscription_count() > 0, "camera connected")
        for topic in ("detections", "answer", "active_prompt") if is_active else ("active_prompt",):
            robot.until(lambda t=topic: client.count_publishers(f"/vlm_perception/{t}") > 0, topic)

    def ask(self, text: str) -> None:
        """Send a prompt and wait until the node says that it is active."""
        before = len(self.active.messages)
        self.prompt_publisher.publish(String(data=text))
        with self.robot.changed:
            assert self.robot.changed.wait_for(
                lambda: any(m.data == text.strip() for m in self.active.messages[before:]), PATIENCE_S
            ), self.active.messages

    def show(self, number: int, rgb: NDArray[np.uint8] | None = None) -> Image:
        """Publish one frame whose stamp is `number` seconds."""
        message = image_message(np.zeros((28, 42, 3), np.uint8) if rgb is None else rgb, header(number))
        self.camera.publish(message)
        return message

    def show_until(self, heard: Heard, matches: Callable[[Any], bool] = lambda _: True, first: int = 1) -> Any:
        """Publish frames with rising stamps until a matching message comes (best effort may lose some)."""
        found: list[Any] = []
        numbers = itertools.count(first)

        def done() -> bool:
            self.show(next(numbers))
            with self.robot.changed:
                found[:] = [m for m in heard.messages if matches(m)][:1]
                if not found:
                    self.robot.changed.wait(0.05)
            return bool(found)

        self.robot.until(done, "an answer to a frame")
        return found[0]

    def answer_to(self, number: int) -> dict[str, Any]:
        """The answer about the frame of that stamp."""
        said = self.answers.wait_for(lambda m: json.loads(m.data)["stamp"]["sec"] == number)
        return dict(json.loads(said.data))

    def diagnostic(self, key: str, *expected: str) -> dict[str, str]:
        """Wait until diagnostics show one of some values, and return all values of that message."""

        def values(message: DiagnosticArray) -> dict[str, str]:
            return {"message": message.status[0].message} | {v.key: v.value for v in message.status[0].values}

        return values(self.diagnostics.wait_for(lambda m: values(m).get(key) in expected))


def header(number: int, nanosec: int = 123456789, frame_id: str = "camera_optical") -> Header:
    return Header(stamp=Time(sec=number, nanosec=nanosec), frame_id=frame_id)


@pytest.fixture
def robot(domain_id: int) -> Iterator[Robot]:
    made = Robot(domain_id)
    yield made
    made.close()


@pytest.fixture
def scripted() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def talk(robot: Robot) -> Callable[..., Talk]:
    return lambda **options: Talk(robot, **options)


@pytest.fixture
def header_of() -> Callable[..., Header]:
    return header


@pytest.fixture
def compressed_message() -> Callable[..., CompressedImage]:
    def make(data: bytes, number: int, declared: str = "jpeg") -> CompressedImage:
        return CompressedImage(header=header(number), format=declared, data=data)

    return make


@pytest.fixture(scope="module")
def shared_robot() -> Iterator[Robot]:
    """One robot for all tests of a module, for nodes that take long to start."""
    with claimed_domain() as number, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_DOMAIN_ID", str(number))
        made = Robot(number)
        yield made
        made.close()


@pytest.fixture(scope="session")
def talk_class() -> type[Talk]:
    return Talk
