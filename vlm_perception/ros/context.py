"""What every part of the node shares: the node itself, its settings, its counters, and its word to people."""

from __future__ import annotations

from dataclasses import dataclass, field

from rclpy.node import Node

from vlm_perception.ros.counters import CountersByCamera
from vlm_perception.ros.executor import OnExecutor
from vlm_perception.ros.parameters import LiveSettings
from vlm_perception.scheduling.rate import Throttle
from vlm_perception.settings import Settings

_LOG_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Given to each part of the node when it is made.

    Attributes:
        node: Owner of topics, services and timers.
        parameters: The node's parameters, which may change while it runs.
        counters: What `/diagnostics` counts.
        executor: Has functions called on the node's executor, from any thread.
    """

    node: Node
    parameters: LiveSettings
    counters: CountersByCamera
    executor: OnExecutor
    _throttle: Throttle = field(default_factory=lambda: Throttle(_LOG_PERIOD_S))

    @classmethod
    def of(cls, node: Node) -> NodeContext:
        """Declare a node's parameters and make what its parts share.

        Raises:
            SettingsError: A start value of a parameter cannot be used.
        """
        return cls(node, LiveSettings(node), CountersByCamera(), OnExecutor(node))

    @property
    def settings(self) -> Settings:
        """The settings in force now."""
        return self.parameters.current

    def debug(self, text: str) -> None:
        """Log what happens often; on any thread."""
        self.node.get_logger().debug(text)

    def info(self, text: str) -> None:
        """Log what people may want to know; on any thread."""
        self.node.get_logger().info(text)

    def warn(self, kind: str, text: str) -> None:
        """Log a warning, each kind at most every 5 s; on any thread."""
        if self._throttle.allows(kind):
            self.node.get_logger().warning(text)

    def error(self, kind: str, text: str) -> None:
        """Log an error, each kind at most every 5 s; on any thread."""
        if self._throttle.allows(kind):
            self.node.get_logger().error(text)
