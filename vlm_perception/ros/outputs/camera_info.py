"""Passes the camera's own calibration on beside the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from vlm_perception.ros.executor import steady_timer
from vlm_perception.ros.inputs.image_subscription import ImageSubscription
from vlm_perception.ros.outputs.stamp_pairs import StampPairs
from vlm_perception.ros.qos import quiet_publisher
from vlm_perception.ros.topics import camera_info_topic
from vlm_perception.types import FrameHeader

_DEPTH = 10
_FOLLOW_PERIOD_S = 0.25
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class CameraInfoRelay:
    """Publishes the `CameraInfo` of every answered frame, unchanged; nothing when the camera sends none.

    It is listened to whether or not anybody wants it: 1 kB beside every image costs less than the images, and what
    came before somebody asked would be missed.

    Args:
        node: Owner of the subscription and the publisher.
        image_topic: Resolved topic of the camera's images, raw or compressed.
        output_topic: Where the calibration goes, such as `~/camera_info`.
        on_info: Told each calibration that comes, on the executor.

    Raises:
        SettingsError: A `qos_overrides` parameter of the calibration's topic cannot be used.
    """

    def __init__(
        self,
        node: Node,
        image_topic: str,
        output_topic: str = "~/camera_info",
        on_info: Callable[[CameraInfo], None] | None = None,
    ) -> None:
        self._node, self._on_arrival = node, on_info
        self._lock = threading.Lock()
        self._infos: StampPairs[CameraInfo] = StampPairs()
        self._inbox = ImageSubscription(node, camera_info_topic(image_topic), CameraInfo, self._on_info)
        self._publisher = node.create_publisher(CameraInfo, output_topic, _RELIABLE, event_callbacks=quiet_publisher())
        self._inbox.follow(_DEPTH)
        self._timer = steady_timer(node, _FOLLOW_PERIOD_S, lambda: self._inbox.follow(_DEPTH))

    def take(self, header: FrameHeader) -> None:
        """Publish the calibration of the frame with this header, now or as soon as it comes.

        May be called on any thread; a frame that is answered several times gets it once.
        """
        with self._lock:
            self._publish(self._infos.take((header.stamp_sec, header.stamp_nanosec)))

    def close(self) -> None:
        """Stop listening and publishing; the node goes on."""
        self._node.destroy_timer(self._timer)
        self._inbox.close()
        self._node.destroy_publisher(self._publisher)

    def _on_info(self, message: CameraInfo) -> None:
        stamp = message.header.stamp
        with self._lock:
            self._publish(self._infos.arrived((stamp.sec, stamp.nanosec), message))
        if self._on_arrival is not None:
            self._on_arrival(message)

    def _publish(self, info: CameraInfo | None) -> None:
        if info is not None:
            self._publisher.publish(info)
