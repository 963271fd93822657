"""The camera subscription, as reliable as the camera offers.

Best effort hears every camera, but an image is larger than a datagram, and one lost piece loses the
image: while the model keeps all cores busy that can go on for seconds. A camera that offers
reliable delivery has its pieces sent again, so it is heard that way as soon as it is seen. Where every
frame counts it is expected to be reliable from the start, and a moment's worth of frames may wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

_NEWEST_DEPTH = 1
# The node's thread may be held up for a moment; the long queue of the policy `every` is the worker's.
_EVERY_DEPTH = 100


class CameraInbox:
    """Subscribes to one camera topic and follows what its publishers offer.

    Args:
        node: Owner of the subscription.
        topic: Resolved image topic.
        message_type: Image or CompressedImage.
        on_image: Called on the executor with every image that arrives.
    """

    def __init__(self, node: Node, topic: str, message_type: type[Any], on_image: Callable[[Any], None]) -> None:
        self._node = node
        self._topic = topic
        self._message_type = message_type
        self._on_image = on_image
        self._profile = QoSProfile(depth=_NEWEST_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscription = self._subscribe(QoSOverridingOptions.with_default_policies())
        # What the user has fixed stays; the other values are our own start.
        self._follows = self._override("reliability") == "best_effort"
        self._sets_depth = self._override("depth") == _NEWEST_DEPTH

    @property
    def reliability(self) -> ReliabilityPolicy:
        """What is asked of the publishers now."""
        return self._profile.reliability

    def follow(self, every: bool) -> None:
        """Subscribe anew when the publishers' offers, or the need for every frame, ask for something else."""
        reliability, depth = self.reliability, self._profile.depth
        offers = self._node.get_publishers_info_by_topic(self._topic)
        if self._follows and (offers or every):
            all_reliable = all(offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
            reliability = ReliabilityPolicy.RELIABLE if all_reliable else ReliabilityPolicy.BEST_EFFORT
        if self._sets_depth:
            depth = _EVERY_DEPTH if every else _NEWEST_DEPTH
        if (reliability, depth) == (self.reliability, self._profile.depth):
            return
        if offers and reliability != self.reliability:
            offered = f"listening to {self._topic} {reliability.name.lower()}, as its publishers offer"
            self._node.get_logger().info(offered)
        self._profile = QoSProfile(depth=depth, reliability=reliability)
        self._node.destroy_subscription(self._subscription)
        fixed = [QoSPolicyKind.HISTORY]
        fixed += [] if self._follows else [QoSPolicyKind.RELIABILITY]
        fixed += [] if self._sets_depth else [QoSPolicyKind.DEPTH]
        self._subscription = self._subscribe(QoSOverridingOptions(fixed))

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def _override(self, policy: str) -> Any:
        return self._node.get_parameter(f"qos_overrides.{self._topic}.subscription.{policy}").value

    def _subscribe(self, overriding: QoSOverridingOptions) -> Subscription:
        return self._node.create_subscription(
            self._message_type, self._topic, self._on_image, self._profile, qos_overriding_options=overriding
        )
