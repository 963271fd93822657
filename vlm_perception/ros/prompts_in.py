"""`~/prompt` from every kind of publisher, each message once.

A volatile subscription hears publishers of both durabilities, but not what a latched one said
before the node came up, or in the moment before the two had found each other. A transient-local
subscription gets that, but does not match volatile publishers, and everybody's log fills with QoS
warnings where it meets one. So the volatile one is always there, the transient-local one only while
somebody publishes that way, and what both receive is handled once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from std_msgs.msg import String

from vlm_perception.ros.qos_watch import quiet_subscription
from vlm_perception.ros.timers import steady_timer

_DEPTH = 10
_LOOK_PERIOD_S = 0.25


class PromptInbox:
    """Subscribes to prompts.

    Args:
        node: Owner of the subscriptions.
        topic: Topic name, such as `~/prompt`.
        on_text: Called on the executor with every prompt, in order per publisher.
    """

    def __init__(self, node: Node, topic: str, on_text: Callable[[str], None]) -> None:
        self._node = node
        self._topic = node.resolve_topic_name(topic)
        self._on_text = on_text
        self._seen: deque[tuple[int, str]] = deque(maxlen=64)
        self._heard_any = False
        # Before Iron, callbacks get no message info, so copies cannot be told apart by their time.
        self._has_info = hasattr(Subscription, "CallbackType")
        self._subscribe(DurabilityPolicy.VOLATILE, self._on_stamped if self._has_info else self._on_unstamped)
        self._latched: Subscription | None = None
        steady_timer(node, _LOOK_PERIOD_S, self._look_for_latched)

    def _subscribe(self, durability: DurabilityPolicy, callback: Callable[..., None]) -> Subscription:
        profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        return self._node.create_subscription(
            String, self._topic, callback, profile, event_callbacks=quiet_subscription()
        )

    def _look_for_latched(self) -> None:
        offers = self._node.get_publishers_info_by_topic(self._topic)
        wanted = any(offer.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        if wanted and self._latched is None:
            callback = self._on_stamped if self._has_info else self._on_latched
            self._latched = self._subscribe(DurabilityPolicy.TRANSIENT_LOCAL, callback)
        elif not wanted and self._latched is not None:
            self._node.destroy_subscription(self._latched)
            self._latched = None

    def _on_stamped(self, message: String, info: Mapping[str, Any]) -> None:
        # The writer stamps a message once, so both copies carry the same nanosecond.
        key = (int(info["source_timestamp"]), message.data)
        if key[0] > 0 and key in self._seen:
            return
        self._seen.append(key)
        self._on_text(message.data)

    def _on_unstamped(self, message: String) -> None:
        self._heard_any = True
        self._on_text(message.data)

    def _on_latched(self, message: String) -> None:
        """Without message info a latched prompt counts only until the first live one."""
        if not self._heard_any:
            self._heard_any = True
            self._on_text(message.data)
