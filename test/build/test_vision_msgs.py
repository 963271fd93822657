"""vision_msgs in this environment is wire compatible with upstream 4.1, whoever built it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
import vision_msgs.msg
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from benchmarks.domains import claimed_domain

TIMEOUT_S = 60.0

# RIHS01 hashes of upstream vision_msgs 4.1.1. Equal hash: equal fields, types and order, so equal bytes on the wire.
UPSTREAM_HASHES = {
    "Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}


def until(condition: Callable[[], object]) -> None:
    ends_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < ends_s, "timed out"


@pytest.fixture
def node() -> Iterator[Node]:
    """A node in a context and domain of its own."""
    context = Context()
    with claimed_domain() as number:
        rclpy.init(context=context, domain_id=number)
        made = rclpy.create_node("vision_msgs_test", context=context)
        yield made
        made.destroy_node()
        context.shutdown()


@pytest.mark.skipif(
    not hasattr(TopicEndpointInfo, "topic_type_hash"), reason="this ROS 2 (Humble) does not announce type hashes"
)
def test_announced_type_hashes_equal_those_of_upstream(node: Node) -> None:
    for name, expected in UPSTREAM_HASHES.items():
        topic = f"/hash_of_{name.lower()}"
        node.create_publisher(getattr(vision_msgs.msg, name), topic, 1)
        until(lambda wanted=topic: node.get_publishers_info_by_topic(wanted))
        (endpoint,) = node.get_publishers_info_by_topic(topic)
        assert str(endpoint.topic_type_hash) == f"RIHS01_{expected}"


def test_array_survives_the_wire(node: Node) -> None:
    sent = Detection2DArray()
    sent.header.frame_id = "camera"
    sent.header.stamp.sec, sent.header.stamp.nanosec = 12, 34
    detection = Detection2D(header=sent.header, id="7")
    detection.bbox.center.position.x, detection.bbox.center.position.y = 320.5, 240.25
    detection.bbox.size_x, detection.bbox.size_y = 100.0, 50.5
    guess = ObjectHypothesisWithPose()
    guess.hypothesis.class_id, guess.hypothesis.score = "红色圆形", 0.875
    detection.results.append(guess)
    sent.detections.append(detection)

    received: list[Detection2DArray] = []
    subscription = node.create_subscription(Detection2DArray, "/array", received.append, 1)
    publisher = node.create_publisher(Detection2DArray, "/array", 1)
    until(lambda: publisher.get_subscription_count() and subscription.get_publisher_count())
    publisher.publish(sent)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    until(lambda: executor.spin_once(timeout_sec=0.1) or received)
    executor.shutdown()
    assert received == [sent]
