"""The node's outputs and what goes out when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray
from visualization_msgs.msg import ImageMarker

from vlm_perception.drawing.annotate import annotate
from vlm_perception.ros.image_messages import image_message, jpeg_message
from vlm_perception.ros.outputs.camera_info import CameraInfoRelay
from vlm_perception.ros.outputs.marker_messages import marker_message
from vlm_perception.ros.outputs.result_messages import answer_json, detections_message, header_message
from vlm_perception.ros.qos import quiet_publisher
from vlm_perception.ros.topics import result_prefixes
from vlm_perception.types import Result

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_PICTURES = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class Outputs:
    """The publishers of each camera: `~/detections` and so on for one, `~/NAME/detections` for several."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._by_camera: dict[str, Publishers] = {}
        self._prefixes: dict[str, str] = {}

    def use(self, topics: Sequence[str]) -> None:
        """Publish for these cameras from now on."""
        prefixes = result_prefixes(topics)
        for topic in [topic for topic, prefix in self._prefixes.items() if prefixes.get(topic) != prefix]:
            self._by_camera.pop(topic).close()
        for topic, prefix in prefixes.items():
            if topic not in self._by_camera:
                self._by_camera[topic] = Publishers(self._node, topic, prefix)
        self._prefixes = prefixes

    def of(self, camera: str) -> Publishers | None:
        """Return a camera's publishers, or None when it has gone."""
        return self._by_camera.get(camera)


class Publishers:
    """Publishes the results about one camera; once closed nothing, whatever is still on its way.

    Args:
        node: Owner of the publishers.
        image_topic: Resolved topic of the camera's images.
        prefix: Private name below which the results go, such as `~` or `~/front`.

    Raises:
        SettingsError: A `qos_overrides` parameter of the calibration's topic cannot be used.
    """

    def __init__(self, node: Node, image_topic: str, prefix: str) -> None:
        self._node = node
        self._lock, self._closed = threading.Lock(), False
        self._calibration = CameraInfoRelay(node, image_topic, f"{prefix}/camera_info")

        def publisher(message_type: type[Any], name: str, profile: QoSProfile) -> Publisher:
            events = quiet_publisher()
            return node.create_publisher(message_type, f"{prefix}/{name}", profile, event_callbacks=events)

        self._detections = publisher(Detection2DArray, "detections", _RELIABLE)
        self._answer = publisher(String, "answer", _RELIABLE)
        self._markers = publisher(ImageMarker, "markers", _RELIABLE)
        self._annotated = publisher(Image, "annotated_image", _PICTURES)
        self._annotated_jpeg = publisher(CompressedImage, "annotated_image/compressed", _PICTURES)

    def close(self) -> None:
        """Take the topics away."""
        own = (self._detections, self._answer, self._markers, self._annotated, self._annotated_jpeg)
        with self._lock:
            self._closed = True
            self._calibration.close()
            for publisher in own:
                self._node.destroy_publisher(publisher)

    def publish_answer(self, result: Result, latency_s: float, age_s: float | None) -> None:
        """Publish boxes and words, and the camera's calibration beside them; see `answer_json` for the times.

        A partial result goes to `~/detections` and `~/answer` alone: what is drawn is drawn once a
        frame.
        """
        with self._lock:
            if self._closed:
                return
            self._detections.publish(detections_message(result))
            self._answer.publish(String(data=answer_json(result, latency_s, age_s)))
            if result.partial:
                return
            self._calibration.take(result.request.frame.header)
            if self._markers.get_subscription_count() > 0:
                self._markers.publish(marker_message(result))

    def drawn(self, result: Result, jpeg_quality: int) -> Callable[[], None] | None:
        """Draw the result if anyone looks.

        Returns:
            What publishes the picture, or None when nobody subscribes and nothing was drawn.

        Raises:
            ImageError: The picture does not fit a JPEG.
        """
        with self._lock:
            raw = not self._closed and self._annotated.get_subscription_count() > 0
            jpeg = not self._closed and self._annotated_jpeg.get_subscription_count() > 0
        if not (raw or jpeg):
            return None
        header = header_message(result.request.frame.header)
        rgb = annotate(result.request.frame.rgb, result)
        raw_message = image_message(rgb, header) if raw else None
        jpeg_picture = jpeg_message(rgb, header, jpeg_quality) if jpeg else None

        def publish() -> None:
            with self._lock:
                if raw_message is not None and not self._closed:
                    self._annotated.publish(raw_message)
                if jpeg_picture is not None and not self._closed:
                    self._annotated_jpeg.publish(jpeg_picture)

        return publish
