"""Simulated time while a bag is shown: `/clock`, as of rosbag2's player."""

from __future__ import annotations

import time

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from vlm_perception.ros.executor import steady_timer

# As rosbag2 has it: timers of other nodes tick as finely as this.
_RATE_HZ = 40.0


class BagClock:
    """Publishes with each image when it was recorded, and between two images goes straight from one to the next.

    Args:
        node: Owner of the topic.
        period_s: From one image that is shown to the next.
    """

    def __init__(self, node: Node, period_s: float) -> None:
        self.publisher = node.create_publisher(Clock, "/clock", QoSProfile(depth=1))
        self._period_s = period_s
        self._now_ns = self._next_ns = 0
        self._shown_s: float | None = None
        steady_timer(node, 1.0 / _RATE_HZ, self._tick)

    def show(self, recorded_ns: int, next_ns: int) -> None:
        """Say when the image was recorded that is shown now, and when the next; before, as in a loop, time stands."""
        self._now_ns, self._next_ns = recorded_ns, max(recorded_ns, next_ns)
        self._shown_s = time.monotonic()
        self._publish(recorded_ns)

    def _tick(self) -> None:
        if self._shown_s is not None:
            share = min(1.0, (time.monotonic() - self._shown_s) / self._period_s)
            self._publish(self._now_ns + round(share * (self._next_ns - self._now_ns)))

    def _publish(self, now_ns: int) -> None:
        sec, nanosec = divmod(now_ns, 10**9)
        self.publisher.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))
