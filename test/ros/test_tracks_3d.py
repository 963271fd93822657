"""What is followed stands in space at the stamp of each camera frame, by the depth that is there then."""

from __future__ import annotations

import json
import re
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from depth_rig import FOCAL_PX, WH, Rig, calibration, raw
from geometry_msgs.msg import TransformStamped, Vector3
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker

from vlm_perception.ros.inputs import transforms as transform_input

SIDE = 20
KEPT = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def picture(left: int) -> np.ndarray:
    """A textured square on a textured ground."""
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    rgb = cv2.resize(noise, WH, interpolation=cv2.INTER_CUBIC)
    rgb[20 : 20 + SIDE, left : left + SIDE] = cv2.resize(noise[:5, :5, ::-1], (SIDE, SIDE), interpolation=0)
    return rgb


def depth_m(left: int, near_m: float) -> np.ndarray:
    made = np.full((WH[1], WH[0]), 4.0, np.float32)
    made[20 : 20 + SIDE, left : left + SIDE] = near_m
    return made


class Film(Rig):
    """Shows frames with depth of a square that moves and comes nearer."""

    def __init__(self, robot, talk, engine, **node: Any) -> None:
        super().__init__(robot, talk, engine, **node)
        engine.reply = json.dumps([{"label": "red cart", "bbox_2d": [40, 20, 40 + SIDE, 20 + SIDE]}])
        self.tracks = robot.hear("/vlm_perception/tracks_3d", Detection3DArray)
        self.robot = robot
        self.heard = self.talk.node._outputs.of("/image")._depth
        robot.until(lambda: self.depths() == [10], "frames may wait")
        robot.match()

    def depths(self) -> list[int]:
        return [each.qos_profile.depth for each in self.talk.node.subscriptions if each.topic_name == "/image"]

    def show(self, number: int, left: int = 40, near_m: float = 2.0) -> None:
        before = self.heard._depths.count
        self.info.publish(calibration(number))
        self.depth.publish(raw(number, depth_m(left, near_m)))
        self.robot.until(lambda: self.heard._depths.count == before + 1, "its depth is heard")
        self.talk.show(number, picture(left))

    def track(self, number: int) -> Detection3DArray:
        return self.tracks.wait_for(lambda m: m.header.stamp.sec == number)

    def until_followed(self, **shown: Any) -> int:
        """Show frames until what is followed has a place; returns the number of the last."""
        for number in range(1, 400):
            self.show(number, **shown)
            if self.track(number).detections:
                return number
        raise AssertionError(self.tracks.messages[-3:])


@pytest.fixture
def film(robot, talk, scripted):
    def make(**node: Any) -> Film:
        return Film(robot, talk, scripted, **node)

    return make


def place_of(message: Detection3DArray) -> tuple[float, float, float]:
    (found,) = message.detections
    at = found.bbox.center.position
    return at.x, at.y, at.z


def test_what_is_followed_has_a_place_in_every_frame(film) -> None:
    made = film()
    last = made.until_followed()
    name = made.track(last).detections[0].id
    # It goes to the right and comes nearer, in depth of the frame's own stamp.
    for step in range(1, 6):
        made.show(last + step, left=40 + step, near_m=2.0 - 0.1 * step)
        message = made.track(last + step)
        z = 2.0 - 0.1 * step
        expected = ((40 + step + SIDE / 2 - 0.5 - 47.5) * z / FOCAL_PX, (30 - 0.5 - 31.5) * z / FOCAL_PX, z)
        assert place_of(message) == pytest.approx(expected, abs=0.06)
        assert (message.header.frame_id, message.detections[0].id) == ("camera_optical", name)
        assert message.detections[0].results[0].hypothesis.class_id == "red cart"


def test_places_in_the_target_frame_come_as_soon_as_their_transform_does(robot, film, monkeypatch) -> None:
    tf = robot.client.create_publisher(TFMessage, "/tf", 100)
    made = film(target_frame="odom")
    robot.match()

    def at(seconds: int) -> TransformStamped:
        header = Header(stamp=Time(sec=seconds), frame_id="odom")
        moved = TransformStamped(header=header, child_frame_id="camera_optical")
        moved.transform.translation = Vector3(x=float(seconds), y=0.0, z=0.0)
        return moved

    transforms = made.talk.node._outputs._transforms
    # Known up to here: frames before are placed at once.
    tf.publish(TFMessage(transforms=[at(seconds) for seconds in range(50)]))
    robot.until(lambda: transforms._heard == 1, "/tf is heard")
    last = made.until_followed()
    x, _, _ = place_of(made.track(last))
    assert made.track(last).header.frame_id == "odom"
    assert x == pytest.approx(last + 0.123456789, abs=0.3)
    stamps = [m.header.stamp.sec for m in made.tracks.messages]
    assert stamps == sorted(stamps)
    # Frames beyond what is known wait for it, and the next frame brings them.
    monkeypatch.setattr(transform_input, "LATEST_S", 60.0)
    made.show(last + 100)
    made.show(last + 101)
    tf.publish(TFMessage(transforms=[at(last + 100), at(last + 102)]))
    robot.until(lambda: transforms._heard == 2, "/tf is heard")
    made.show(last + 101)
    assert place_of(made.track(last + 100))[0] == pytest.approx(last + 100.123456789, abs=0.3)
    # For a while: then they are told without a place.
    made.show(last + 200)
    monkeypatch.setattr(transform_input, "LATEST_S", 0.0)
    made.show(last + 201)
    assert made.track(last + 200).detections == []


def test_markers_follow_the_tracks_where_the_picture_does(robot, film) -> None:
    made = film(annotate="tracks")
    robot.client.destroy_subscription(made.tracks.subscription)
    for number in range(1, 400):
        made.show(number)
        message = made.markers.wait_for(lambda m, n=number: m.markers[0].header.stamp.sec == n)
        if len(message.markers) > 1:
            break
    first, box, text = message.markers
    assert first.action == Marker.DELETEALL
    assert box.color.a > 0.3
    assert re.fullmatch(r"red cart \d+, 2\.\d m", text.text)
    # Once a frame, not once more for its answer.
    stamps = [m.markers[0].header.stamp.sec for m in made.markers.messages]
    assert stamps == sorted(set(stamps))


def test_nobody_looks_and_nothing_is_lifted(robot, film, monkeypatch) -> None:
    made = film()
    last = made.until_followed()
    robot.client.destroy_subscription(made.tracks.subscription)
    node = made.talk.node
    robot.until(lambda: not node._outputs.of("/image").wants_tracks(), "nobody looks")
    heard = []
    monkeypatch.setattr(made.heard, "place_now", lambda *given: heard.append(given))
    made.show(last + 1)
    made.talk.answer_to(last + 1)
    assert heard == []
