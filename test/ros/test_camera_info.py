"""The camera's calibration beside the answers, over DDS."""

from __future__ import annotations

import json
from threading import Thread

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from robot import LATCHED, header
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.outputs.camera_info import CameraInfoRelay
from vlm_perception.types import FrameHeader

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture
def node(robot):
    made = rclpy.create_node("eyes", context=robot.context)
    robot.spin(made)
    yield made
    robot.stop_spinning()
    made.destroy_node()


def calibration(sent) -> CameraInfo:
    info = CameraInfo(header=sent, height=480, width=640, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.5])
    info.k = np.arange(9, dtype=np.float64)
    info.p = np.arange(12, dtype=np.float64)
    info.roi.x_offset, info.binning_x = 12, 2
    return info


def frame_header(sent) -> FrameHeader:
    return FrameHeader(sent.stamp.sec, sent.stamp.nanosec, sent.frame_id)


@pytest.mark.parametrize("qos", [RELIABLE, qos_profile_sensor_data])
@pytest.mark.parametrize("image_topic", ["/front/image_raw", "/front/image_raw/compressed"])
def test_the_calibration_of_an_answered_frame_is_passed_on_unchanged(robot, node, image_topic, qos):
    relay = CameraInfoRelay(node, image_topic)
    heard = robot.hear("/eyes/camera_info", CameraInfo, RELIABLE)
    publisher = robot.camera("/front/camera_info", CameraInfo, qos)
    infos = [calibration(header(number)) for number in range(5)]
    # Not on the executor's thread, where the answers are made neither.
    answering = Thread(target=lambda: [relay.take(frame_header(infos[n].header)) for n in (1, 3)])
    answering.start()
    answering.join()

    def film() -> bool:
        # Best effort may lose some.
        for info in infos:
            publisher.publish(info)
        with robot.changed:
            return robot.changed.wait_for(lambda: len(heard.messages) >= 2, 0.1)

    robot.until(film, "two calibrations")
    # A frame after them, so that one too many would have come.
    relay.take(frame_header(infos[4].header))
    heard.wait_for(lambda m: m.header.stamp.sec == 4)
    assert sorted(heard.messages, key=lambda m: m.header.stamp.sec) == [infos[1], infos[3], infos[4]]


def test_an_answer_before_the_calibration_gets_it_when_it_comes(robot, node):
    relay = CameraInfoRelay(node, "/front/image_raw")
    heard = robot.hear("/eyes/camera_info", CameraInfo, RELIABLE)
    publisher = robot.camera("/front/camera_info", CameraInfo, RELIABLE)
    info = calibration(header(7))
    for _ in range(2):
        relay.take(frame_header(info.header))
    for sent in (calibration(header(6)), info):
        publisher.publish(sent)
    assert heard.wait_for() == info


def test_a_camera_without_calibration_leaves_the_topic_silent_and_a_closed_relay_is_gone(robot, node):
    relay = CameraInfoRelay(node, "/bare/image", "~/bare/camera_info")
    relay.take(frame_header(header(1)))
    assert [name for name, _ in node.get_publisher_names_and_types_by_node("eyes", "/") if "bare" in name] == [
        "/eyes/bare/camera_info"
    ]
    relay.close()
    robot.until(lambda: node.count_publishers("/eyes/bare/camera_info") == 0, "publisher gone")
    robot.until(lambda: node.count_subscribers("/bare/camera_info") == 0, "subscription gone")


def test_the_calibration_is_not_taken_from_an_image_topic(robot, node):
    # `image` in the root namespace has its calibration in the root too.
    CameraInfoRelay(node, "/image")
    robot.client.create_publisher(Image, "/image", 1)
    names = dict(node.get_subscriber_names_and_types_by_node("eyes", "/"))
    assert names["/camera_info"] == ["sensor_msgs/msg/CameraInfo"]
    assert "/image" not in names


def test_a_latched_calibration_from_before_the_relay_is_heard(robot, node):
    """Who shows one picture latches its calibration beside it."""
    info = calibration(header(3))
    robot.camera("/front/camera_info", CameraInfo, LATCHED).publish(info)
    relay = CameraInfoRelay(node, "/front/image_raw")
    heard = robot.hear("/eyes/camera_info", CameraInfo, RELIABLE)
    relay.take(frame_header(info.header))
    assert heard.wait_for() == info


class Rig:
    """Cameras with a calibration for each image, and what the node passes on."""

    def __init__(self, robot, outputs: dict[str, str]) -> None:
        self._robot = robot
        self.heard = {camera: robot.hear(f"{output}/camera_info", CameraInfo) for camera, output in outputs.items()}
        self.answers = {camera: robot.hear(f"{output}/answer", String) for camera, output in outputs.items()}
        # Reliable: every calibration arrives, so that one too many would show.
        self._infos = {camera: robot.camera(f"{camera}/camera_info", CameraInfo, 50) for camera in outputs}
        self._images = {camera: robot.camera(f"{camera}/image_raw") for camera in outputs}

    def film(self, number: int) -> None:
        for camera in self._images:
            sent = header(number, frame_id=camera)
            self._infos[camera].publish(calibration(sent))
            self._images[camera].publish(image_message(np.zeros((28, 42, 3), np.uint8), sent))

    def film_until(self, done, first: int = 1) -> None:
        numbers = iter(range(first, 10**6))

        def step() -> bool:
            self.film(next(numbers))
            with self._robot.changed:
                return self._robot.changed.wait_for(done, 0.05)

        self._robot.until(step, "what the node passes on")

    def stamps(self, camera: str) -> list[int]:
        return [info.header.stamp.sec for info in self.heard[camera].messages]

    def answered(self, camera: str) -> list[int]:
        return [json.loads(answer.data)["stamp"]["sec"] for answer in self.answers[camera].messages]


def test_each_camera_s_calibration_goes_beside_its_answers(robot, scripted):
    robot.node(scripted, prompt="cup", image_topics=["/front/image_raw", "/back/image_raw"])
    outputs = {"/front": "/vlm_perception/front", "/back": "/vlm_perception/back"}
    rig = Rig(robot, outputs)
    rig.film_until(lambda: all(len(heard.messages) > 3 for heard in rig.heard.values()))
    for camera in outputs:
        first = rig.heard[camera].messages[0]
        assert first == calibration(header(first.header.stamp.sec, frame_id=camera))
        robot.until(lambda c=camera: sorted(rig.stamps(c)) == sorted(rig.answered(c)), "one for each answer")


def test_no_calibration_goes_out_without_an_answer_or_twice(robot, talk, scripted):
    """Nothing without a prompt, nothing for an aborted answer, once for an answer in parts."""
    t = talk(scripted, publish_partial=True, remap=("image:=/image_raw",), camera_topic="/image_raw")
    rig = Rig(robot, {"": "/vlm_perception"})
    rig.film_until(lambda: t.node._shared.counters.total.report().drops.get("no_prompt", 0) > 3)
    assert rig.stamps("") == []
    t.ask("red cup")
    scripted.reply = '[{"bbox_2d": [2, 4, 12, 24], "label": "cup"}, {"bbox_2d": [20, 4, 32, 24], "label": "cup"}]'
    rig.film_until(lambda: len(rig.stamps("")) > 1, first=100)
    scripted.first = len(scripted.reply) - 3
    scripted.thinking.set()
    asked = len(scripted.requests)
    rig.film_until(lambda: len(scripted.requests) > asked, first=500)
    doomed = scripted.requests[-1].frame.header.stamp_sec
    t.ask("blue cup")
    robot.until(lambda: scripted.aborted > 0, "the answer to the old question is aborted")
    scripted.thinking.clear()
    rig.film_until(lambda: rig.stamps("")[-1] >= 1000, first=1000)
    assert doomed in rig.answered(""), "a part of it was out"
    assert doomed not in rig.stamps("")
    assert len(set(rig.stamps(""))) == len(rig.stamps("")) < len(rig.answered(""))
