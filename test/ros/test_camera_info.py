"""The camera's calibration beside the answers, over DDS."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from vlm_perception.ros.camera_info import CameraInfoRelay
from vlm_perception.types import FrameHeader

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture
def node(robot):
    made = rclpy.create_node("eyes", context=robot.context)
    robot.spin(made)
    yield made
    robot.stop_spinning()
    made.destroy_node()


def calibration(header) -> CameraInfo:
    info = CameraInfo(header=header, height=480, width=640, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.5])
    info.k = np.arange(9, dtype=np.float64)
    info.p = np.arange(12, dtype=np.float64)
    info.roi.x_offset, info.binning_x = 12, 2
    return info


def frame_header(header) -> FrameHeader:
    return FrameHeader(header.stamp.sec, header.stamp.nanosec, header.frame_id)


@pytest.fixture
def camera(robot, node, header_of):
    """Start a relay on /front/image_raw and publish calibrations until it has them."""

    def connect(topic="/front/camera_info", qos=RELIABLE):
        publisher = robot.client.create_publisher(CameraInfo, topic, qos)
        robot.until(lambda: publisher.get_subscription_count() > 0, "calibration connected")
        return publisher

    return connect


@pytest.mark.parametrize("qos", [RELIABLE, qos_profile_sensor_data])
@pytest.mark.parametrize("image_topic", ["/front/image_raw", "/front/image_raw/compressed"])
def test_the_calibration_of_an_answered_frame_is_passed_on_unchanged(robot, node, camera, header_of, image_topic, qos):
    relay = CameraInfoRelay(node, image_topic)
    heard = robot.hear("/eyes/camera_info", CameraInfo, RELIABLE)
    robot.until(lambda: node.count_subscribers("/eyes/camera_info") > 0, "listener connected")
    publisher = camera(qos=qos)
    infos = [calibration(header_of(number)) for number in range(5)]
    # Not on the executor's thread, where the answers are made neither.
    answering = Thread(target=lambda: [relay.take(frame_header(infos[n].header)) for n in (1, 3)])
    answering.start()
    answering.join()

    def film() -> bool:
        # Best effort: what comes before both sides have found each other is lost.
        for info in infos:
            publisher.publish(info)
        with robot.changed:
            return robot.changed.wait_for(lambda: len(heard.messages) >= 2, 0.1)

    robot.until(film, "two calibrations")
    # A frame after them, so that one too many would have come.
    relay.take(frame_header(infos[4].header))
    heard.wait_for(lambda m: m.header.stamp.sec == 4)
    assert sorted(heard.messages, key=lambda m: m.header.stamp.sec) == [infos[1], infos[3], infos[4]]


def test_an_answer_before_the_calibration_gets_it_when_it_comes(robot, node, camera, header_of):
    relay = CameraInfoRelay(node, "/front/image_raw")
    heard = robot.hear("/eyes/camera_info", CameraInfo, RELIABLE)
    robot.until(lambda: node.count_subscribers("/eyes/camera_info") > 0, "listener connected")
    publisher = camera()
    info = calibration(header_of(7))
    relay.take(frame_header(info.header))
    relay.take(frame_header(info.header))

    def film() -> bool:
        # Best effort: what comes before both sides have found each other is lost.
        publisher.publish(calibration(header_of(6)))
        publisher.publish(info)
        with robot.changed:
            return robot.changed.wait_for(lambda: bool(heard.messages), 0.1)

    robot.until(film, "the calibration")
    assert heard.messages[0] == info


def test_a_camera_without_calibration_leaves_the_topic_silent_and_a_closed_relay_is_gone(robot, node, header_of):
    relay = CameraInfoRelay(node, "/bare/image", "~/bare/camera_info")
    relay.take(frame_header(header_of(1)))
    assert [name for name, _ in node.get_publisher_names_and_types_by_node("eyes", "/") if "bare" in name] == [
        "/eyes/bare/camera_info"
    ]
    relay.close()
    robot.until(lambda: node.count_publishers("/eyes/bare/camera_info") == 0, "publisher gone")
    robot.until(lambda: node.count_subscribers("/bare/camera_info") == 0, "subscription gone")


def test_the_calibration_is_not_taken_from_an_image_topic(robot, node, header_of):
    # `image` in the root namespace has its calibration in the root too.
    CameraInfoRelay(node, "/image")
    robot.client.create_publisher(Image, "/image", 1)
    names = dict(node.get_subscriber_names_and_types_by_node("eyes", "/"))
    assert names["/camera_info"] == ["sensor_msgs/msg/CameraInfo"]
    assert "/image" not in names
