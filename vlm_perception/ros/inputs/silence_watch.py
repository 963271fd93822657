"""Says so when no image comes, and what could be meant instead."""

from __future__ import annotations

from sensor_msgs.msg import CompressedImage, Image

from vlm_perception.ros.context import NodeContext
from vlm_perception.scheduling.rate import Throttle

_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_REPEAT_S = 30.0


class SilenceWatch:
    """Counts and warns when a camera topic falls silent.

    Args:
        context: Of the node.
        topic: Resolved image topic.
        message_type: What the node subscribes to there, Image or CompressedImage.
    """

    def __init__(
        self,
        context: NodeContext,
        topic: str,
        message_type: type[Image] | type[CompressedImage],
    ) -> None:
        self._node, self._counters = context.node, context.counters
        self._topic = topic
        self._message_type = message_type
        self._is_silent = self._was_told = False
        self._throttle = Throttle(_REPEAT_S)

    def check(self, since_s: float, limit_s: float) -> None:
        """Warn when the last image (or the start) is longer ago than the limit, and say when that is over.

        It is said at most every 30 s, and counted each time.
        """
        was_silent, self._is_silent = self._is_silent, since_s > limit_s
        if self._is_silent and not was_silent:
            for counters in self._counters.of(self._topic):
                counters.count_outage()
        if self._was_told and not self._is_silent:
            self._was_told = False
            self._node.get_logger().info(f"images come on {self._topic} again")
        if self._is_silent and self._throttle.allows(self._topic):
            self._was_told = True
            self._node.get_logger().warning(f"no image on {self._topic} for {since_s:.1f} s: {self._advice()}")

    def _advice(self) -> str:
        others = self._image_topics()
        here = others.pop(self._topic, ())
        wanted = f"sensor_msgs/msg/{self._message_type.__name__}"
        if here and wanted not in here:
            other = "compressed" if self._message_type is Image else "raw"
            return f"it carries {', '.join(here)}, not {wanted}; set image_transport to {other}"
        if here:
            return "it has a publisher, which is silent; check the camera"
        if not others:
            return "nobody publishes it, and there is no other image topic; start the camera"
        names = ", ".join(f"{name} ({', '.join(types)})" for name, types in sorted(others.items()))
        return f"nobody publishes it; image topics there are: {names}; remap image to one of them (-r image:=/...)"

    def _image_topics(self) -> dict[str, tuple[str, ...]]:
        """Image topics that somebody publishes, without this node's own pictures."""
        own = f"{self._node.get_fully_qualified_name()}/"
        found: dict[str, tuple[str, ...]] = {}
        for name, types in self._node.get_topic_names_and_types():
            published = {info.topic_type for info in self._node.get_publishers_info_by_topic(name)}
            image_types = tuple(t for t in types if t in _TYPES and t in published)
            if image_types and not name.startswith(own):
                found[name] = image_types
        return found
