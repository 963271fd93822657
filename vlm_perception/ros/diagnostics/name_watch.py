"""Notices other nodes of the same name, which ROS allows and nobody wants.

Services, parameters and lifecycle transitions of that name reach any one of them, and both publish their answers on
the same topics.
"""

from __future__ import annotations

from vlm_perception.ros.context import NodeContext
from vlm_perception.ros.executor import steady_timer

_LOOK_PERIOD_S = 0.5


class NameWatch:
    """Looks for namesakes in the graph, twice a second, and counts them once when they turn up.

    Attributes:
        text: What is wrong now and what to do; empty when the name is the node's alone.
    """

    def __init__(self, context: NodeContext) -> None:
        self._node, self._counters = context.node, context.counters.total
        self._seen = 0
        self.text = ""
        self._timer = steady_timer(context.node, _LOOK_PERIOD_S, self.look)

    def look(self) -> None:
        """Look at the graph; what is seen twice in a row is said, for a node that ends may stay a moment."""
        own = (self._node.get_name(), self._node.get_namespace())
        others = self._node.get_node_names_and_namespaces().count(own) - 1
        there, self._seen = min(others, self._seen), others
        if there > 0:
            is_new, self.text = not self.text, self._said(there)
            if is_new:
                self._counters.count_error("same_name")
                self._node.get_logger().warning(self.text)
        elif others <= 0 and self.text:
            self.text = ""
            self._node.get_logger().info(f"no other node is named {self._node.get_fully_qualified_name()} any more")

    def _said(self, others: int) -> str:
        them = "another node is" if others == 1 else f"{others} other nodes are"
        return (
            f"{them} named {self._node.get_fully_qualified_name()}, too: services, parameters and prompts reach any of "
            f"them; start each under a name or namespace of its own (-r __node:=NAME, -r __ns:=/NAMESPACE). A process "
            f"that was killed a moment ago is forgotten after about 20 s"
        )
