"""Objects of answers stand in space where they were in the image that was asked; whoever has no place says why."""

from __future__ import annotations

import json
import threading

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile
from robot import RELIABLE, header
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from vlm_perception.ros import image_messages
from vlm_perception.ros.inputs import depth as depth_input
from vlm_perception.ros.inputs.depth import Pins

WH = (96, 64)
FOCAL_PX = 80.0
REPLY = json.dumps([{"label": "red cart", "bbox_2d": [40, 22, 56, 42]}])
# Middle of the box, seen along the axis.
PLACE_M = (0.0, 0.0, 2.0)
PROFILE = QoSProfile(depth=20, reliability=RELIABLE)


def depth_m(near_m: float = 2.0, wh: tuple[int, int] = WH) -> np.ndarray:
    """A thing in front of a wall; half of what the camera sees of the wall has no depth."""
    made = np.full((wh[1], wh[0]), 4.0, np.float32)
    made[::2] = 0.0
    x, y = wh[0] / WH[0], wh[1] / WH[1]
    made[round(22 * y) : round(42 * y), round(40 * x) : round(56 * x)] = near_m
    return made


def raw(number: int, metres: np.ndarray, encoding: str = "16UC1", frame_id: str = "camera_optical", **stamp) -> Image:
    pixels = (metres * 1000).astype(np.uint16) if encoding == "16UC1" else metres
    height, width = pixels.shape
    message = Image(header=header(number, frame_id=frame_id, **stamp), height=height, width=width, encoding=encoding)
    message.step, message.data = width * pixels.itemsize, pixels.tobytes()
    return message


def packed(number: int, metres: np.ndarray) -> CompressedImage:
    _, png = cv2.imencode(".png", (metres * 1000).astype(np.uint16))
    data = bytes(12) + png.tobytes()
    return CompressedImage(header=header(number), format="16UC1; compressedDepth png", data=data)


def calibration(number: int, focal_px: float = FOCAL_PX) -> CameraInfo:
    k = [focal_px, 0.0, 47.5, 0.0, focal_px, 31.5, 0.0, 0.0, 1.0]
    info = CameraInfo(header=header(number), width=WH[0], height=WH[1], distortion_model="plumb_bob", k=k)
    info.d = [0.0] * 5
    return info


class Rig:
    """A colour camera with depth, a node, and what it says of space."""

    def __init__(self, robot, talk, engine, topic: str = "/depth", **node) -> None:
        engine.reply = REPLY
        kind = CompressedImage if topic.endswith("/compressedDepth") else Image
        self.depth = robot.camera(topic, kind, PROFILE)
        self.info = robot.camera("/camera_info", CameraInfo, PROFILE)
        self.talk = talk(engine, camera_qos=PROFILE, depth_topics=[topic], **node)
        self.places = robot.hear("/vlm_perception/detections_3d", Detection3DArray)
        self.markers = robot.hear("/vlm_perception/markers_3d", MarkerArray)
        robot.settle(topic, "/camera_info")
        robot.until(lambda: self.node_hears(robot), "depth is heard")
        self.talk.ask("red cart")

    def node_hears(self, robot) -> bool:
        return self.depth.get_subscription_count() == 1 and self.info.get_subscription_count() == 1

    def film(self, number: int) -> None:
        self.talk.show(number, np.zeros((WH[1], WH[0], 3), np.uint8))

    def answer(self, number: int) -> dict:
        (found,) = self.talk.answer_to(number)["objects"]
        return found


@pytest.fixture
def rig(robot, talk, scripted):
    def make(**options) -> Rig:
        return Rig(robot, talk, scripted, **options)

    return make


def thinking(scripted, rig: Rig, number: int, meanwhile) -> dict:
    """The object of an answer to a frame, while which something happened; what was sent is heard by then."""
    scripted.thinking.set()
    asked = len(scripted.requests)
    rig.film(number)
    scripted.wait_asked(asked + 1)
    meanwhile()
    scripted.thinking.clear()
    return rig.answer(number)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "compressed", "half"])
def test_a_box_stands_where_its_pixels_were_at_the_stamp_of_the_image(robot, rig, scripted, encoding) -> None:
    made = rig(topic="/depth/compressedDepth" if encoding == "compressed" else "/depth")
    depth = made.talk.node._outputs.of("/image")._depth

    def send() -> None:
        made.info.publish(calibration(5))
        # Things have moved on since.
        for number, near_m in ((4, 3.0), (5, 2.0), (6, 1.0)):
            if encoding == "compressed":
                made.depth.publish(packed(number, depth_m(near_m)))
            elif encoding == "half":
                made.depth.publish(raw(number, depth_m(near_m, (48, 32))))
            else:
                made.depth.publish(raw(number, depth_m(near_m), encoding))
        robot.until(lambda: (depth._depths.count, depth._infos.count) == (3, 1), "all is heard")

    found = thinking(scripted, made, 5, send)
    assert found["position_m"] == pytest.approx(PLACE_M, abs=0.04)
    assert found["size_m"][:2] == pytest.approx((16 * 2 / FOCAL_PX, 20 * 2 / FOCAL_PX), abs=0.06)
    message = made.places.wait_for()
    assert message.header == header(5)
    (detection,) = message.detections
    guess = detection.results[0]
    assert (guess.hypothesis.class_id, detection.header) == ("red cart", header(5))
    assert guess.pose.pose == detection.bbox.center
    assert min(guess.pose.covariance[place] for place in (0, 7, 14)) > 0
    first, *shown = made.markers.wait_for().markers
    assert first.action == Marker.DELETEALL
    assert [marker.ns for marker in shown] == ["boxes", "labels"]
    assert shown[1].text == "red cart, 2.0 m"


FAULTS = {
    "no_depth": ((), (5,)),
    "no_depth_at_stamp": ((raw(6, depth_m()),), (5,)),
    "no_camera_info": ((raw(5, depth_m()),), ()),
    "not_aligned_aspect": ((raw(5, depth_m(wh=(96, 48))),), (5,)),
    "not_aligned_frame": ((raw(5, depth_m(), frame_id="depth_optical"),), (5,)),
    "unknown_encoding": ((raw(5, depth_m(), "mono16"),), (5,)),
    "no_valid_depth": ((raw(5, np.zeros((64, 96), np.float32)),), (5,)),
    "bad_camera_info": ((raw(5, depth_m()),), (0,)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_object_without_a_place_says_why_and_the_next_one_has_one(robot, rig, scripted, fault) -> None:
    made = rig()
    depth = made.talk.node._outputs.of("/image")._depth
    depths, infos = FAULTS[fault]

    def send(depths, infos) -> None:
        before = depth._depths.count, depth._infos.count
        for message in depths:
            made.depth.publish(message)
        for number in infos:
            made.info.publish(calibration(max(1, number), FOCAL_PX if number else 0.0))
        expected = (before[0] + len(depths), before[1] + len(infos))
        robot.until(lambda: (depth._depths.count, depth._infos.count) == expected, "all is heard")

    reason = thinking(scripted, made, 5, lambda: send(depths, infos))["no_position"]
    cause = fault if not fault.startswith("not_aligned") else "not_aligned"
    assert reason["cause"] == cause
    assert reason["text"]
    assert made.places.wait_for().detections == []
    assert made.talk.diagnostic(f"errors: no_position_{cause}", "1")
    # Eight hours on, and after a clock that was set back.
    for number in (30_000, 2):
        found = thinking(scripted, made, number, lambda n=number: send((raw(n, depth_m()),), (n,)))
        assert found["position_m"] == pytest.approx(PLACE_M, abs=0.04)


def test_one_answer_that_somebody_waits_for_has_places_made_once_and_not_by_the_executor(
    robot, rig, scripted, monkeypatch
) -> None:
    made = rig(frame_policy="on_demand")
    threads: list[str] = []

    def metres_of(message: Image) -> np.ndarray:
        threads.append(threading.current_thread().name)
        return image_messages.metres_of(message)

    monkeypatch.setattr(depth_input, "metres_of", metres_of)
    heard = made.talk.node._outputs.of("/image")._depth
    made.depth.publish(raw(5, depth_m()))
    made.info.publish(calibration(5))
    robot.until(lambda: (heard._depths.count, heard._infos.count) == (1, 1), "all is heard")
    waiting = robot.begin_call(Trigger, "detect_once")
    # Under `on_demand` an image that comes before the call is nobody's.
    robot.until(lambda: made.film(5) or waiting.done(), "the answer is there")
    (found,) = json.loads(waiting.result().message)["objects"]
    assert found["position_m"] == pytest.approx(PLACE_M, abs=0.04)
    assert set(threads) == {"vlm_perception_worker"}


def test_of_two_cameras_one_has_depth(robot, scripted) -> None:
    node = robot.node(scripted, image_topics=["/front/image", "/rear/image"], depth_topics=["", "/rear/depth"])
    names = {name for name, _ in node.get_publisher_names_and_types_by_node("vlm_perception", "/")}
    assert {name for name in names if name.endswith("_3d")} == {
        "/vlm_perception/rear/detections_3d",
        "/vlm_perception/rear/markers_3d",
    }
    assert robot.set_parameters(depth_topics=["/front/depth", ""]).successful
    robot.until(lambda: node.count_subscribers("/front/depth") == 1 > node.count_subscribers("/rear/depth"), "changed")
    refused = robot.set_parameters(depth_topics=["/front depth", ""])
    assert "'/front depth', no topic name" in refused.reason
    assert "depth_topics has 1 names for 2 cameras" in robot.set_parameters(depth_topics=["/front/depth"]).reason


def test_pins_hold_the_closest_item_however_many_come_later() -> None:
    pins: Pins[str] = Pins(kept=2, pins=2)
    for stamp_ns in (10, 20, 30):
        pins.arrived(stamp_ns, f"at {stamp_ns}")
    for stamp_ns in (29, 22):
        pins.pin(stamp_ns)
    for stamp_ns in (23, 40, 50, 60):
        pins.arrived(stamp_ns, f"at {stamp_ns}")
    assert (pins.of(29), pins.of(22), pins.of(10)) == ((30, "at 30"), (23, "at 23"), None)
    pins.pin(61)
    assert (pins.of(29), pins.of(61)) == (None, (60, "at 60"))
