"""`~/prompt` from every kind of publisher, each message once.

A volatile subscription hears publishers of both durabilities, but not what a latched one said
before the node came up, or in the moment before the two had found each other. A transient-local
subscription gets that, but does not match volatile publishers, and everybody's log fills with QoS
warnings where it meets one. So the volatile one is always there, the transient-local one only while
somebody publishes that way, and what both receive is handled once.

When prompts come faster than they are handled, each of the two keeps the last few, not the same ones. So the order
of the volatile one counts, and the other one only adds what is newer than all before: the last prompt wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from std_msgs.msg import String

from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.qos import quiet_subscription

_DEPTH = 10
_LOOK_PERIOD_S = 0.25
_REMEMBERED = 64


class PromptSubscription:
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
        # What was handled -> how many live prompts had been handled then. Not the texts: each may take 10 MB.
        self._handled: dict[tuple[int, int], int] = {}
        self._live = self._newest_ns = 0
        self._heard_any = False
        # Before Iron, callbacks get no message info, so copies cannot be told apart by their time.
        self._has_info = hasattr(Subscription, "CallbackType")
        self._subscribe(DurabilityPolicy.VOLATILE, self._on_live if self._has_info else self._on_unstamped)
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
            callback = self._on_kept if self._has_info else self._on_latched
            self._latched = self._subscribe(DurabilityPolicy.TRANSIENT_LOCAL, callback)
        elif not wanted and self._latched is not None:
            self._node.destroy_subscription(self._latched)
            self._latched = None

    def _on_live(self, message: String, info: Mapping[str, Any]) -> None:
        """Handle what the volatile subscription hears, unless its copy came first and nothing since."""
        key = _key(message, info)
        if self._handled.get(key) != self._live:
            self._live += 1
            self._handle(key, message.data)

    def _on_kept(self, message: String, info: Mapping[str, Any]) -> None:
        """Handle what the transient-local subscription hears, unless it is a copy, or older than what is known."""
        key = _key(message, info)
        if key not in self._handled and (key[0] <= 0 or key[0] > self._newest_ns):
            self._handle(key, message.data)

    def _handle(self, key: tuple[int, int], text: str) -> None:
        if key[0] > 0:
            self._handled.pop(key, None)
            self._handled[key] = self._live
            if len(self._handled) > _REMEMBERED:
                del self._handled[next(iter(self._handled))]
        self._newest_ns = max(self._newest_ns, key[0])
        self._on_text(text)

    def _on_unstamped(self, message: String) -> None:
        self._heard_any = True
        self._on_text(message.data)

    def _on_latched(self, message: String) -> None:
        """Without message info a latched prompt counts only until the first live one."""
        if not self._heard_any:
            self._heard_any = True
            self._on_text(message.data)


def _key(message: String, info: Mapping[str, Any]) -> tuple[int, int]:
    """Tell one message from another: the writer stamps it once, so that both copies carry the same nanosecond."""
    return int(info["source_timestamp"]), hash(message.data)
