"""Notices that simulated time was set back, as a simulator that is reset or a bag that begins again does it.

Nothing here depends on that clock but the ages that are told: waiting, rates and time-outs are measured by one that
only goes forward. So there is nothing to put right, only something to say.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

from vlm_perception.scheduling.rate import Throttle

_LOG_PERIOD_S = 5.0


class ClockWatch:
    """Counts and logs every step back of the node's clock, which only a simulated one does.

    Args:
        node: Whose clock is watched and whose logger warns.
        count: Called for every step back; returns how many there were.
    """

    def __init__(self, node: Node, count: Callable[[], int]) -> None:
        self._node, self._count, self._throttle = node, count, Throttle(_LOG_PERIOD_S)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        # Watched for as long as this handle is kept.
        self._handle = node.get_clock().create_jump_callback(back, post_callback=self._on_jump)

    def _on_jump(self, jump: TimeJump) -> None:
        count = self._count()
        if self._throttle.allows("back"):
            self._node.get_logger().warning(
                f"time was set back by {-jump.delta.nanoseconds * 1e-9:.2f} s ({count} times so far): images are "
                f"answered as before, the age of those stamped before that is unknown"
            )
