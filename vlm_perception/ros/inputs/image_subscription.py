"""What a camera publishes, heard as its publishers offer it.

Reliability: best effort hears every camera, but an image is larger than a datagram, and one lost piece loses the
image: while the model keeps all cores busy that can go on for seconds. A camera that offers reliable delivery has
its pieces sent again, so it is heard that way as soon as it is seen. Where every frame counts it is expected to be
reliable from the start, and a moment's worth of frames may wait.

Durability: a publisher that latches its one image is heard by a node that starts later only if that asks for it,
which a volatile publisher does not match. So it is asked for while every publisher offers it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from vlm_perception.ros.qos import fixed_policies, quiet_subscription

# More than a latched publisher keeps and hands out again.
_REMEMBERED = 256


class ImageSubscription:
    """Subscribes to one topic of a camera and follows what its publishers offer; `follow` begins.

    What a latched publisher hands out again because of a new subscription is not handed on again.

    Args:
        node: Owner of the subscription.
        topic: Resolved topic.
        message_type: Of messages with a header: Image, CompressedImage, CameraInfo.
        on_message: Called on the executor with every message that arrives.

    Raises:
        SettingsError: A `qos_overrides` parameter of the topic cannot be used.
    """

    def __init__(self, node: Node, topic: str, message_type: type[Any], on_message: Callable[[Any], None]) -> None:
        self._node, self._topic, self._message_type, self._on_message = node, topic, message_type, on_message
        self._fixed = fixed_policies(node, topic)
        # Attributes of the profile that was asked for.
        self._asked: dict[str, Any] = {}
        self._subscription: Subscription | None = None
        self._seen: deque[tuple[int, int, int, str]] = deque(maxlen=_REMEMBERED)
        # Before Iron, callbacks get no message info, so copies cannot be told apart: one may be handed on twice.
        self._has_info = hasattr(Subscription, "CallbackType")

    def follow(self, depth: int, reliable_at_first: bool = False) -> None:
        """Subscribe anew when the publishers' offers, or the depth, ask for something else.

        Args:
            depth: Messages that may wait for the executor.
            reliable_at_first: Ask for reliable delivery before any publisher is seen.
        """
        offers = self._node.get_publishers_info_by_topic(self._topic)
        asked = self._to_ask(offers, reliable_at_first) | {"depth": depth} | self._fixed
        if asked == self._asked:
            return
        if offers and _said(asked) != _said(self._asked):
            self._node.get_logger().info(f"listening to {self._topic}: {_said(asked)}")
        self._asked = asked
        self._subscribe()

    def hear_again(self) -> None:
        """Have the last message handed on once more, if a latched publisher can hand it out again."""
        if self._asked.get("durability") == DurabilityPolicy.TRANSIENT_LOCAL:
            if self._seen:
                self._seen.pop()
            self._subscribe()

    def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription, self._asked = None, {}

    def _to_ask(self, offers: list[TopicEndpointInfo], reliable_at_first: bool) -> dict[str, Any]:
        """Ask for what all offer; before anybody does, for what hears everybody."""
        reliable, latched = reliable_at_first, False
        if offers:
            reliable = all(offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
            latched = all(offer.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        return {
            "reliability": ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            "durability": DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        }

    def _subscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        callback = self._on_stamped if self._has_info else self._on_message
        self._subscription = self._node.create_subscription(
            self._message_type,
            self._topic,
            callback,
            QoSProfile(**self._asked),
            event_callbacks=quiet_subscription(),
        )

    def _on_stamped(self, message: Any, info: Mapping[str, Any]) -> None:
        stamp = message.header.stamp
        # The writer stamps a message once, so every copy carries the same nanosecond.
        key = (int(info["source_timestamp"]), stamp.sec, stamp.nanosec, message.header.frame_id)
        if key[0] > 0 and key in self._seen:
            return
        self._seen.append(key)
        self._on_message(message)


def _said(asked: Mapping[str, Any]) -> str:
    return ", ".join(str(asked[policy].name).lower() for policy in ("reliability", "durability") if policy in asked)
