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

from vlm_perception.apps.doctor.graph import GraphFacts, NodeStatus, judge_graph

# How long to listen at least, to wait for the node to speak, for others to appear, and for the graph to stay as it is.
LISTEN_S = 2.0
PATIENCE_S = 8.0
DISCOVERY_S = 6.0
QUIET_S = 1.0
IMAGE_TYPES = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}


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
        self._status: NodeStatus | None = None
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

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
        started_s = time.monotonic()
        # The newest: a node that has just begun needs a moment to see what does not fit.
        self._spin_until(lambda: time.monotonic() - started_s >= LISTEN_S and self._status is not None, PATIENCE_S)
        topics = self._node.get_topic_names_and_types()
        return GraphFacts(
            node=self._target,
            same_name=self._names().count(self._target),
            other_nodes=tuple(sorted(set(names) - {self._target})),
            lifecycle=self._lifecycle(),
            status=self._status,
            cameras={
                topic: next(kind for kind in types if kind in IMAGE_TYPES)
                for topic, types in sorted(self._of_target(self._node.get_subscriber_names_and_types_by_node))
                if IMAGE_TYPES & set(types)
            },
            image_topics={
                topic: types
                for topic, _ in sorted(topics)
                if not topic.startswith(f"{self._target}/") and (types := self._published(topic)) & IMAGE_TYPES
            },
            listened_s=time.monotonic() - started_s,
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

    def _published(self, topic: str) -> set[str]:
        return {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}

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

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f"{self._target}: perception":
                values = {value.key: value.value for value in status.values}
                level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
                self._status = NodeStatus(level, status.message, values)


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
