"""`~/prompt` from every kind of publisher, each message once.

A volatile subscription hears publishers of both durabilities, but not what a latched one said
before the node came up, or in the moment before the two had found each other (`ros2 topic pub
--once`). A transient-local subscription gets that, but never matches a volatile publisher. So there
are two, and what both receive is handled once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from std_msgs.msg import String

_DEPTH = 10


class PromptInbox:
    """Subscribes to prompts.

    Args:
        node: Owner of the subscriptions.
        topic: Topic name, such as `~/prompt`.
        on_text: Called on the executor with every prompt, in order per publisher.
    """

    def __init__(self, node: Node, topic: str, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._seen: deque[tuple[int, str]] = deque(maxlen=64)
        self._heard_any = False
        # Before Iron, callbacks get no message info, so copies cannot be told apart by time.
        with_info = hasattr(Subscription, "CallbackType")
        for durability in (DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE):
            profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
            if with_info:
                node.create_subscription(String, topic, self._on_stamped, profile)
            elif durability == DurabilityPolicy.VOLATILE:
                node.create_subscription(String, topic, self._on_unstamped, profile)
            else:
                node.create_subscription(String, topic, self._on_latched, profile)

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
