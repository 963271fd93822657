"""Notices that simulated time was set back, as a simulator that is reset or a bag that begins again does it.

Nothing here depends on that clock but the ages that are told: waiting, rates and time-outs are measured by one that
only goes forward. So there is nothing to put right, only something to say.
"""

from __future__ import annotations

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration

from vlm_perception.ros.context import NodeContext


class ClockWatch:
    """Counts and logs every step back of the node's clock, which only a simulated one does."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        # Watched for as long as this handle is kept.
        self._handle = context.node.get_clock().create_jump_callback(back, post_callback=self._on_jump)

    def _on_jump(self, jump: TimeJump) -> None:
        count = self._context.counters.total.count_error("time_went_back")
        self._context.warn(
            "time_went_back",
            f"time was set back by {-jump.delta.nanoseconds * 1e-9:.2f} s ({count} times so far): images are answered "
            f"as before, the age of those stamped before that is unknown",
        )
