"""The camera subscription, as reliable as the camera offers.

Best effort hears every camera, but an image is larger than a datagram, and one lost piece loses the
image: while the model keeps all cores busy that can go on for seconds. A camera that offers
reliable delivery has its pieces sent again, so it is heard that way as soon as it is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription


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
        self.reliability = ReliabilityPolicy.BEST_EFFORT
        self._subscription = self._subscribe(QoSOverridingOptions.with_default_policies())
        override = node.get_parameter(f"qos_overrides.{topic}.subscription.reliability").value
        # What the user has fixed stays; the other value is our own start.
        self._follows = override == "best_effort"

    def follow(self) -> None:
        """Subscribe anew when the publishers' offers ask for the other reliability."""
        offers = self._node.get_publishers_info_by_topic(self._topic)
        if not offers or not self._follows:
            return
        all_reliable = all(offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        wanted = ReliabilityPolicy.RELIABLE if all_reliable else ReliabilityPolicy.BEST_EFFORT
        if wanted != self.reliability:
            self.reliability = wanted
            self._node.destroy_subscription(self._subscription)
            options = QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH))
            self._subscription = self._subscribe(options)
            self._node.get_logger().info(f"listening to {self._topic} {wanted.name.lower()}, as its publishers offer")

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def _subscribe(self, overriding: QoSOverridingOptions) -> Subscription:
        # One frame is all we want.
        profile = QoSProfile(depth=1, reliability=self.reliability)
        return self._node.create_subscription(
            self._message_type, self._topic, self._on_image, profile, qos_overriding_options=overriding
        )
