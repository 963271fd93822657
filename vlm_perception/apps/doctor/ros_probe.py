"""Looks at a running ROS graph for the doctor; run as a child process, prints one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from vlm_perception.apps.doctor.graph import Camera, Endpoint, GraphFacts, Status, judge_graph

# How long to listen at least, to wait for the rest, for others to appear, and for the graph to stay as it is.
LISTEN_S = 2.0
PATIENCE_S = 8.0
DISCOVERY_S = 6.0
QUIET_S = 1.0
_IMAGES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class GraphObserver:
    """A node that only looks and listens.

    Args:
        target: Full name of the node that is looked at.
        context: ROS context to join with; the caller ends it.
    """

    def __init__(self, target: str, context: Context) -> None:
        self._target = target
        # The underscore hides it from `ros2 node list`; it must not look like a participant of the robot.
        self._node = Node(
            "_vlm_perception_doctor", context=context, enable_rosout=False, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._images: dict[str, int] = {}
        self._answers = 0
        self._statuses: dict[str, Status] = {}
        self._prompt: str | None = None

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()

    def gather(self) -> GraphFacts:
        """Wait until the graph is known, listen, and return what was seen."""
        self._discover()
        names = self._names()
        if self._target not in names:
            return GraphFacts(self._target, 0, tuple(sorted(set(names))))
        self._subscribe()
        started_s = time.monotonic()
        self._spin_until(lambda: time.monotonic() - started_s >= LISTEN_S, PATIENCE_S)
        images, answers, listened_s = dict(self._images), self._answers, time.monotonic() - started_s
        self._spin_until(lambda: bool(self._statuses) and self._prompt is not None, PATIENCE_S - LISTEN_S)
        return GraphFacts(
            node=self._target,
            same_name=self._names().count(self._target),
            other_nodes=tuple(sorted(set(names) - {self._target})),
            lifecycle=self._lifecycle(),
            status=max(self._statuses.values(), key=lambda status: status.level, default=None),
            cameras=tuple(self._camera(topic, images.get(topic, 0)) for topic in self._camera_topics()),
            image_topics=self._image_topics(),
            active_prompt=self._prompt,
            answers=answers,
            listened_s=listened_s,
        )

    def _discover(self) -> None:
        """Wait until the target is there and nothing new has appeared for a while."""
        last, since_s = self._picture(), time.monotonic()

        def settled() -> bool:
            nonlocal last, since_s
            if (now := self._picture()) != last:
                last, since_s = now, time.monotonic()
            return self._target in self._names() and time.monotonic() - since_s >= QUIET_S

        self._spin_until(settled, DISCOVERY_S)

    def _picture(self) -> tuple[list[str], list[tuple[str, int, int]]]:
        topics = [name for name, _ in self._node.get_topic_names_and_types()]
        counts = [(name, self._node.count_publishers(name), self._node.count_subscribers(name)) for name in topics]
        return sorted(self._names()), sorted(counts)

    def _subscribe(self) -> None:
        for topic in self._camera_topics():
            offers = self._node.get_publishers_info_by_topic(topic)
            all_reliable = all(offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
            reliability = ReliabilityPolicy.RELIABLE if offers and all_reliable else ReliabilityPolicy.BEST_EFFORT
            message_type = _IMAGES[self._subscription(topic).topic_type]
            # Raw: an image is only counted, never read.
            self._node.create_subscription(
                message_type, topic, self._count(topic), QoSProfile(depth=5, reliability=reliability), raw=True
            )
        for topic, types in self._of_target(self._node.get_publisher_names_and_types_by_node):
            if topic.endswith("/answer") and "std_msgs/msg/String" in types:
                self._node.create_subscription(String, topic, self._on_answer, 10)
        self._node.create_subscription(String, f"{self._target}/active_prompt", self._on_prompt, _LATCHED)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _camera(self, topic: str, images: int) -> Camera:
        ours = self._subscription(topic)
        offers = self._node.get_publishers_info_by_topic(topic)
        mismatches = []
        for offer in offers:
            compatibility, reason = qos_check_compatible(offer.qos_profile, ours.qos_profile)
            if compatibility == QoSCompatibility.ERROR:
                mismatches.append((_endpoint(offer), reason.strip().rstrip(";")))
        return Camera(topic, _endpoint(ours), tuple(map(_endpoint, offers)), tuple(mismatches), images)

    def _camera_topics(self) -> list[str]:
        taken = self._of_target(self._node.get_subscriber_names_and_types_by_node)
        return sorted(topic for topic, types in taken if set(types) & _IMAGES.keys())

    def _subscription(self, topic: str) -> TopicEndpointInfo:
        infos = self._node.get_subscriptions_info_by_topic(topic)
        return next(info for info in infos if _full_name(info.node_name, info.node_namespace) == self._target)

    def _image_topics(self) -> tuple[str, ...]:
        own = f"{self._target}/"
        published = [
            topic
            for topic, types in self._node.get_topic_names_and_types()
            if set(types) & _IMAGES.keys() and self._node.count_publishers(topic) and not topic.startswith(own)
        ]
        return tuple(sorted(published))

    def _lifecycle(self) -> str | None:
        services = dict(self._of_target(self._node.get_service_names_and_types_by_node))
        name = f"{self._target}/get_state"
        if "lifecycle_msgs/srv/GetState" not in services.get(name, ()):
            return None
        client = self._node.create_client(GetState, name)
        self._spin_until(client.service_is_ready, PATIENCE_S)
        reply = client.call_async(GetState.Request())
        self._spin_until(reply.done, PATIENCE_S)
        return str(reply.result().current_state.label) if reply.done() else ""

    def _of_target(self, ask: Callable[[str, str], list[tuple[str, list[str]]]]) -> list[tuple[str, list[str]]]:
        namespace, _, name = self._target.rpartition("/")
        return ask(name, namespace or "/")

    def _names(self) -> list[str]:
        pairs = self._node.get_node_names_and_namespaces()
        return [_full_name(name, namespace) for name, namespace in pairs if not name.startswith("_")]

    def _spin_until(self, done: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not done() and time.monotonic() < deadline_s:
            self._executor.spin_once(timeout_sec=0.05)

    def _count(self, topic: str) -> Callable[[bytes], None]:
        def on_image(_: bytes) -> None:
            self._images[topic] = self._images.get(topic, 0) + 1

        return on_image

    def _on_answer(self, _: String) -> None:
        self._answers += 1

    def _on_prompt(self, message: String) -> None:
        self._prompt = message.data

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{self._target}:"):
                values = {value.key: value.value for value in status.values}
                level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
                self._statuses[status.name] = Status(level, status.message, values)


def _endpoint(info: TopicEndpointInfo) -> Endpoint:
    profile = info.qos_profile
    policies = (profile.reliability.name, profile.durability.name)
    said = ", ".join(name.lower().replace("_", " ") for name in policies)
    return Endpoint(_full_name(info.node_name, info.node_namespace), info.topic_type, said)


def _full_name(name: str, namespace: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def main(target: str) -> int:
    """Look at the graph that this process can see and print `running` and `findings`."""
    context = Context()
    rclpy.init(args=[], context=context)
    observer = GraphObserver(target, context)
    facts = observer.gather()
    findings: list[dict[str, Any]] = [asdict(finding) for finding in judge_graph(facts)]
    print(json.dumps({"running": facts.same_name > 0, "findings": findings}))
    observer.close()
    context.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
