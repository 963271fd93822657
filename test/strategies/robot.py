"""Real nodes over real DDS, in one process, and a client that talks to them: waits for events, and sleeps nowhere."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from background import in_background as background
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log, SetParametersResult
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.client import Client
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.subscription import Subscription
from rclpy.task import Future
from scripted_engine import PATIENCE_S
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vlm_perception.engines.base import Engine
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.ros.node import VlmPerceptionNode

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, KEPT = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
LATCHED = QoSProfile(depth=1, reliability=RELIABLE, durability=KEPT)
# Often and fast; no image is late or missing because the machine is busy, and too many failures end no test.
PARAMETERS = {
    "max_rate_hz": 100.0,
    "diagnostics_period_s": 0.1,
    "max_failures": 0,
    "max_age_s": 60.0,
    "no_image_warning_s": 60.0,
}


def header(number: int, nanosec: int = 123456789, frame_id: str = "camera_optical") -> Header:
    return Header(stamp=Time(sec=number, nanosec=nanosec), frame_id=frame_id)


def compressed(data: bytes, number: int, declared: str = "jpeg") -> CompressedImage:
    return CompressedImage(header=header(number), format=declared, data=data)


def values_of(message: DiagnosticArray) -> dict[str, str]:
    """Level, message and values of the node's own status."""
    status = message.status[0]
    return {"level": str(status.level[0]), "message": status.message} | {item.key: item.value for item in status.values}


def flood(rate_hz: float, count: int, action: Callable[[int], object]) -> None:
    """Do something `count` times, at most `rate_hz` times a second, numbered from 1."""
    pause, began_s = threading.Event(), time.monotonic()
    for number in range(1, count + 1):
        action(number)
        pause.wait(max(0.0, began_s + number / rate_hz - time.monotonic()))


class Heard:
    """Messages of one topic, in order."""

    def __init__(self, changed: threading.Condition) -> None:
        self.messages: list[Any] = []
        self._changed = changed

    def add(self, message: Any) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait_for(self, matches: Callable[[Any], bool] = lambda _: True, after: int = 0) -> Any:
        """Return the first message that matches, waiting for it if need be; `after` so many messages."""

        def first() -> Any:
            return next((message for message in self.messages[after:] if matches(message)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: first() is not None, PATIENCE_S), self.messages[-5:]
            return first()

    def next(self, matches: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the first message that matches and comes after this call."""
        return self.wait_for(matches, after=len(self.messages))


class Robot:
    """A domain with a client and nodes under test, which are two DDS participants, as two processes would be.

    Attributes:
        domain_id: Its number.
        changed: Notified with every message that the client hears.
        client: Whatever is on the other side of the node.
        context: Of the nodes under test.
        nodes: Those that run in this process.
    """

    def __init__(self, domain_id: int) -> None:
        self.domain_id, self.changed = domain_id, threading.Condition()
        self.context, self._client_context = rclpy.Context(), rclpy.Context()
        for context in (self.context, self._client_context):
            rclpy.init(context=context, domain_id=domain_id)
        self._spinning: list[tuple[Node, SingleThreadedExecutor, threading.Thread, threading.Event]] = []
        self._processes: list[subprocess.Popen[str]] = []
        self._callers: dict[str, Client] = {}
        self.nodes: list[VlmPerceptionNode] = []
        self.client = rclpy.create_node("client", context=self._client_context)
        self.spin(self.client)
        # The two participants meet before a node under test looks round for its cameras.
        hidden = {"enable_rosout": False, "start_parameter_services": False}
        self._witness = rclpy.create_node("_witness", context=self.context, **hidden)

    def spin(self, node: Node) -> None:
        """Give a node an executor and a thread of its own, as a process of its own would."""
        executor, stop = SingleThreadedExecutor(context=node.context), threading.Event()
        executor.add_node(node)

        def loop() -> None:
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.05)

        thread = threading.Thread(target=loop)
        self._spinning.append((node, executor, thread, stop))
        thread.start()

    def as_client(self, function: Callable[[], Any]) -> Any:
        """Return what a function gives that is called on the client's thread, as a callback of it would be."""
        (executor,) = (executor for node, executor, *_ in self._spinning if node is self.client)
        done = executor.create_task(function)
        self.until(done.done, "the client does it")
        return done.result()

    def node(
        self,
        engine: Engine | None = None,
        remap: Sequence[str] = (),
        reaches: State | None = State.ACTIVE,
        arguments: Sequence[str] = (),
        **parameters: Any,
    ) -> VlmPerceptionNode:
        """Start a node under test, and wait until it reaches a state and everything there is connected with it."""
        overrides = [Parameter(name, value=value) for name, value in {**PARAMETERS, **parameters}.items()]
        command_line = [*arguments, *(part for rule in remap for part in ("-r", rule))]
        node = VlmPerceptionNode(
            engine,
            context=self.context,
            parameter_overrides=overrides,
            cli_args=["--ros-args", *command_line] if command_line else None,
        )
        self.nodes.append(node)
        self.spin(node)
        self.until(lambda: reaches in (None, node.state), f"the node is {reaches}")
        self.match()
        return node

    def start(self, *command: object, in_background: bool = False, **options: Any) -> subprocess.Popen[str]:
        """Start `python COMMAND` in this domain; whatever still runs in the end is killed."""
        line = [sys.executable, *map(str, command)]
        line = background(line) if in_background else line
        self._processes.append(subprocess.Popen(line, stderr=subprocess.PIPE, text=True, **options))
        return self._processes[-1]

    def hear(self, topic: str, message_type: Any, qos: Any = 50) -> Heard:
        """Subscribe and collect; whoever publishes it in this process is connected when this returns."""
        heard = Heard(self.changed)
        heard.subscription = self.client.create_subscription(message_type, topic, heard.add, qos)
        self.match()
        return heard

    def hear_log(self) -> Heard:
        """Collect the log, with what was said before."""
        return self.hear("/rosout", Log, QoSProfile(depth=200, durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def camera(self, topic: str = "/image", message_type: Any = Image, qos: Any = 1) -> Publisher:
        """Publish images or calibrations as the client; a node that hears them hears them as they are offered."""
        publisher = self.client.create_publisher(message_type, topic, qos)
        self.until(lambda: self._witness.count_publishers(topic) >= self.client.count_publishers(topic) > 0, topic)
        self.settle(topic)
        return publisher

    def settle(self, *topics: str) -> None:
        """Wait until cameras are heard as they are offered: what is sent while the node subscribes anew may be lost."""

        def is_settled() -> bool:
            publishers, subscriptions = self._endpoints()
            for topic in topics:
                offers = [each.qos_profile for each in publishers if each.topic_name == topic]
                wanted = (
                    RELIABLE if all(offer.reliability == RELIABLE for offer in offers) else BEST_EFFORT,
                    KEPT if all(offer.durability == KEPT for offer in offers) else VOLATILE,
                )
                asked = [each.qos_profile for each in subscriptions if each.topic_name == topic]
                if any((each.reliability, each.durability) != wanted for each in asked):
                    return False
            return True

        self.until(is_settled, f"{topics} are heard as they are offered")
        self.match()

    def match(self) -> None:
        """Wait until the publishers and subscriptions of this process know each other, both ways.

        What is sent while only one side knows the other is lost without a word.
        """
        self.until(lambda: self._stranger() is None, f"everybody knows each other, but for {self._stranger()}")

    def _stranger(self) -> str | None:
        """The topic of an endpoint that does not know all of its counterparts."""
        publishers, subscriptions = self._endpoints()
        fitting = [(p, s) for p, s in itertools.product(publishers, subscriptions) if _fit(p, s)]
        for publisher in publishers:
            known, expected = publisher.get_subscription_count(), sum(p is publisher for p, _ in fitting)
            # One too many is gone already, unless it belongs to another process.
            if known < expected or (known > expected and not self._processes):
                return publisher.topic_name
        for subscription in subscriptions:
            if subscription.get_publisher_count() < sum(s is subscription for _, s in fitting):
                return subscription.topic_name
        return None

    def _endpoints(self) -> tuple[list[Publisher], list[Subscription]]:
        nodes = [node for node, *_ in self._spinning]
        return [each for n in nodes for each in n.publishers], [each for n in nodes for each in n.subscriptions]

    def until(self, condition: Callable[[], object], what: str = "condition") -> None:
        """Wait for a condition of the ROS graph, which offers no event to a test."""
        pause, ends_s = threading.Event(), time.monotonic() + PATIENCE_S

        def holds() -> bool:
            try:
                return bool(condition())
            except InvalidHandle:  # of an endpoint that a node takes away meanwhile
                return False

        while not holds():
            assert time.monotonic() < ends_s, f"timed out: {what}"
            pause.wait(0.01)

    def begin_call(self, kind: Any, name: str, request: Any = None) -> Future:
        """Call a service of the node."""
        name = name if name.startswith("/") else f"/vlm_perception/{name}"
        caller = self._callers.get(name) or self.client.create_client(kind, name)
        self._callers[name] = caller
        self.until(caller.service_is_ready, name)
        return caller.call_async(request or kind.Request())

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        """Call a service of the node and return what it answers."""
        future = self.begin_call(kind, name, request)
        self.until(future.done, f"an answer of {name}")
        return future.result()

    def set_parameters(self, **values: Any) -> SetParametersResult:
        """Set parameters of the node together, as ROS tools do."""
        wanted = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=wanted)
        return self.call(SetParametersAtomically, "set_parameters_atomically", request).result

    def stop_spinning(self, node: Node | None = None) -> None:
        """End all executors, or that of one node, before a test destroys a node of its own."""
        for spun, _, _, stop in self._spinning:
            if node in (None, spun):
                stop.set()
        for spun, _, thread, _ in self._spinning:
            if node in (None, spun):
                thread.join(PATIENCE_S)

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            process.kill()
            process.communicate(timeout=PATIENCE_S)
        for node in self.nodes:
            node._worker.stop(PATIENCE_S)
        self.stop_spinning()
        for node in self.nodes:
            assert node.close(PATIENCE_S)
        for node in (self.client, self._witness):
            node.destroy_node()
        for _, executor, *_ in self._spinning:
            executor.shutdown()
        for context in (self.context, self._client_context):
            context.shutdown()


def _fit(publisher: Publisher, subscription: Subscription) -> bool:
    return (
        publisher.topic_name == subscription.topic_name
        and publisher.msg_type is subscription.msg_type
        and qos_check_compatible(publisher.qos_profile, subscription.qos_profile)[0] != QoSCompatibility.ERROR
    )
