"""Says which endpoints cannot hear each other, and why, with both sides named.

ROS says so once, in one line of a log that names the topic and one policy. Here the graph is looked at: who else is
on the node's topics, what they offer or ask for, and whether that fits.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.qos import Unmet, parameter_name, unmet

_LOOK_PERIOD_S = 0.5
_REPEAT_S = 30.0
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A publisher and a subscription on one topic between which nothing gets through.

    Attributes:
        topic: Resolved topic.
        publisher: Full name of the publishing node.
        subscriber: Full name of the other one.
        unmet: The policies that do not fit.
        remedy: What to change.
    """

    topic: str
    publisher: str
    subscriber: str
    unmet: tuple[Unmet, ...]
    remedy: str

    def __str__(self) -> str:
        offered = ", ".join(f"{each.policy} {each.offered}" for each in self.unmet)
        asked = ", ".join(f"{each.policy} {each.asked}" for each in self.unmet)
        sides = f"{self.publisher} offers {offered}, {self.subscriber} asks for {asked}"
        return f"QoS mismatch on {self.topic}: {sides}, so nothing gets through; {self.remedy}"


class QosWatch:
    """Looks for mismatches on all topics of a node, twice a second, and counts every one that begins."""

    def __init__(self, context: NodeContext) -> None:
        self._node, self._counters = context.node, context.counters.total
        self._suspects: frozenset[Mismatch] = frozenset()
        self._known: dict[Mismatch, None] = {}
        self._said_s: dict[Mismatch, float] = {}
        self._timer = steady_timer(context.node, _LOOK_PERIOD_S, self.look)

    @property
    def texts(self) -> dict[str, str]:
        """What does not fit now, by topic."""
        topics = sorted({mismatch.topic for mismatch in self._known})
        return {topic: "; ".join(str(each) for each in self._known if each.topic == topic) for topic in topics}

    def look(self) -> None:
        """Compare both sides of every topic; what is seen twice in a row is said.

        The camera subscription follows its publishers within a quarter of a second, so that what is seen once may
        be over already.
        """
        seen = frozenset(self._mismatches())
        for mismatch in sorted((seen & self._suspects) - self._known.keys(), key=str):
            self._known[mismatch] = None
            self._counters.count_error("qos_mismatch")
            self._say(mismatch)
        for mismatch in self._known.keys() - seen:
            del self._known[mismatch]
            pair = f"{mismatch.publisher} and {mismatch.subscriber}"
            self._node.get_logger().info(f"the QoS mismatch on {mismatch.topic} between {pair} is over")
        self._suspects = seen

    def _say(self, mismatch: Mismatch) -> None:
        now_s = time.monotonic()
        self._said_s = {each: said_s for each, said_s in self._said_s.items() if now_s - said_s < _REPEAT_S}
        if mismatch not in self._said_s:
            self._said_s[mismatch] = now_s
            self._node.get_logger().warning(str(mismatch))

    def _mismatches(self) -> Iterable[Mismatch]:
        for topic in {subscription.topic_name for subscription in self._node.subscriptions}:
            own, others = self._sides(self._node.get_subscriptions_info_by_topic(topic), topic, publishers=True)
            for other in others:
                lacks = _least([unmet(other.qos_profile, mine.qos_profile) for mine in own])
                if lacks:
                    yield Mismatch(
                        topic, _name(other), self._own_name, lacks, self._remedy_of_ours(topic, other, lacks)
                    )
        for topic in {publisher.topic_name for publisher in self._node.publishers}:
            own, others = self._sides(self._node.get_publishers_info_by_topic(topic), topic, publishers=False)
            for other in others:
                lacks = _least([unmet(mine.qos_profile, other.qos_profile) for mine in own])
                if lacks:
                    offered = ", ".join(f"{each.policy} {each.offered}" for each in lacks)
                    remedy = f"let {_name(other)} ask for {offered}"
                    yield Mismatch(topic, self._own_name, _name(other), lacks, remedy)

    def _sides(
        self, mine: list[TopicEndpointInfo], topic: str, publishers: bool
    ) -> tuple[list[TopicEndpointInfo], list[TopicEndpointInfo]]:
        """Return the node's own endpoints and those of others on the other side, with the node's message type."""
        node = self._node
        ask = node.get_publishers_info_by_topic if publishers else node.get_subscriptions_info_by_topic
        own = [info for info in mine if _name(info) == self._own_name]
        types = {info.topic_type for info in own}
        return own, [info for info in ask(topic) if info.topic_type in types and _name(info) != self._own_name]

    @property
    def _own_name(self) -> str:
        return str(self._node.get_fully_qualified_name())

    def _remedy_of_ours(self, topic: str, other: TopicEndpointInfo, lacks: tuple[Unmet, ...]) -> str:
        asked = ", ".join(f"{each.policy} {each.asked}" for each in lacks)
        names = [parameter_name(topic, each.policy) for each in lacks]
        fixed = [name for name in names if self._node.has_parameter(name) and _is_fixed(self._node, name)]
        remedy = f"let {_name(other)} offer {asked}"
        return f"remove {', '.join(fixed)} from the node's parameters, or {remedy}" if fixed else remedy


def _is_fixed(node: Node, name: str) -> bool:
    return bool(node.get_parameter(name).value != "system_default")


def _least(lacks: list[tuple[Unmet, ...]]) -> tuple[Unmet, ...]:
    """Return what does not fit with the endpoint that comes closest; one that fits is enough."""
    return min(lacks, key=len, default=())


def _name(info: TopicEndpointInfo) -> str:
    if info.node_name == _UNKNOWN:
        return "a node without a name"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
