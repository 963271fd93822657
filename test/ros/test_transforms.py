"""Places in `target_frame`: by `/tf` at the stamp of the image, whatever `/tf` does; tf2 and ours answer alike."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from depth_rig import PLACE_M, Rig, calibration, depth_m, raw, thinking
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from transform_cases import CASES, LENS, Announced, Case

from vlm_perception.ros.inputs import transforms as transform_input
from vlm_perception.ros.inputs.transforms import OwnTransforms, Tf2Transforms
from vlm_perception.world.transforms import TransformError

NO_TURN = (0.0, 0.0, 0.0, 1.0)
# What `header` adds to the seconds.
STAMP_FRACTION_S = 0.123456789
KEPT = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def message_of(announced: Announced) -> TransformStamped:
    _, parent, child, seconds, xyz, xyzw = announced
    stamp_ns = round(seconds * 1e9)
    stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    message = TransformStamped(header=Header(stamp=stamp, frame_id=parent), child_frame_id=child)
    message.transform.translation = Vector3(**dict(zip("xyz", xyz, strict=True)))
    message.transform.rotation = Quaternion(**dict(zip("xyzw", xyzw, strict=True)))
    return message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("kind", [OwnTransforms, Tf2Transforms])
def test_tf2_and_ours_answer_alike(kind: type, case: Case) -> None:
    if kind is Tf2Transforms:
        pytest.importorskip("tf2_py", reason="tf2 is in no wheel; a sourced ROS 2 has it")
    buffer = kind(history_s=10.0)
    for each in case.announced:
        buffer.take(message_of(each), each[0])
    target, source, seconds = case.asked
    if isinstance(case.expected, str):
        with pytest.raises(TransformError, match=f"no transform from {source} to {target} at {seconds:.3f}: ") as told:
            buffer.lookup(target, source, round(seconds * 1e9))
        # Where it is one frame, tf2 does not ask whether it knows it.
        assert told.value.cause == case.expected
        return
    found = buffer.lookup(target, source, round(seconds * 1e9))
    xyz, xyzw = (np.array(part) for part in case.expected)
    assert found.translation_m == pytest.approx(xyz, abs=2e-6)
    sign = np.copysign(1.0, np.dot(found.quaternion_xyzw, xyzw))
    assert found.quaternion_xyzw == pytest.approx(sign * xyzw, abs=2e-6)
    with pytest.raises(TransformError, match="has no stamp"):
        buffer.lookup("a", "b", 0)


class Robot3D(Rig):
    """A camera with depth on a base that drives, and what it says of places in `odom`."""

    def __init__(self, robot, talk, engine, **node) -> None:
        self.robot = robot
        self.tf = robot.client.create_publisher(TFMessage, "/tf", 100)
        self.tf_static = robot.client.create_publisher(TFMessage, "/tf_static", KEPT)
        self.tf_static.publish(TFMessage(transforms=[message_of((*LENS[:2], "camera_optical", *LENS[3:]))]))
        super().__init__(robot, talk, engine, **{"target_frame": "odom", **node})
        robot.match()
        robot.until(lambda: self.heard >= 1, "/tf_static is heard")

    @property
    def heard(self) -> int:
        return self.talk.node._outputs._transforms._heard

    def drive(self, *seconds: float, parent: str = "odom", speed_m_s: float = 1.0) -> None:
        """Tell where the base is: at x = seconds."""
        before = self.heard
        for each in seconds:
            moved = (False, parent, "base", each, (speed_m_s * each, 0.0, 0.0), NO_TURN)
            self.tf.publish(TFMessage(transforms=[message_of(moved)]))
        self.robot.until(lambda: self.heard == before + len(seconds), "/tf is heard")

    def see(self, number: int) -> None:
        depth = self.talk.node._outputs.of("/image")._depth
        before = depth._depths.count, depth._infos.count
        self.depth.publish(raw(number, depth_m()))
        self.info.publish(calibration(number))
        self.robot.until(lambda: (depth._depths.count, depth._infos.count) == tuple(n + 1 for n in before), "seen")


@pytest.fixture
def rig(robot, talk, scripted):
    def make(**options) -> Robot3D:
        return Robot3D(robot, talk, scripted, **options)

    return make


def in_odom(number: float) -> tuple[float, float, float]:
    """The cart stands 2 m before the lens, which stands 0.2 m before the base's middle and 0.5 m above it."""
    return (number + STAMP_FRACTION_S + 0.2 + PLACE_M[2], 0.0, 0.5)


def test_a_place_in_the_target_frame_is_where_the_thing_was_when_the_image_was_taken(robot, rig, scripted) -> None:
    made = rig()

    def meanwhile() -> None:
        made.see(5)
        # The robot has gone on since, and the transform at the stamp lies between two.
        made.drive(4.5, 5.5, 6.0, 9.0)

    found = thinking(scripted, made, 5, meanwhile)
    assert found["position_m"] == pytest.approx(in_odom(5), abs=0.04)
    assert (found["position_frame"], found["distance_m"]) == ("odom", pytest.approx(2.0, abs=0.04))
    message = made.places.wait_for()
    assert (message.header.frame_id, message.header.stamp.sec) == ("odom", 5)
    (detection,) = message.detections
    assert detection.header == message.header
    turned = detection.bbox.center.orientation
    assert abs(np.dot((turned.x, turned.y, turned.z, turned.w), LENS[5])) == pytest.approx(1.0)
    # Sides stay those of the camera; what is uncertain by the depth now lies along x.
    assert detection.bbox.size.x == pytest.approx(16 * 2 / 80, abs=0.06)
    covariance = np.reshape(detection.results[0].pose.covariance, (6, 6))
    assert covariance[:3, :3].diagonal() == pytest.approx((0.02**2, 0.05**2, 0.05**2), rel=0.1)
    _, box, text = made.markers.wait_for().markers
    assert {box.header.frame_id, text.header.frame_id} == {"odom"}
    assert text.text.startswith("red cart")
    assert text.text.endswith(", 2.0 m")
    assert text.pose.position.z > box.pose.position.z + 20 / 80


def test_a_burst_takes_one_turn_of_the_executor(robot, rig) -> None:
    made = rig()
    transforms, turns, go_on = made.talk.node._outputs._transforms, [], threading.Event()
    (moving, _) = transforms._subscriptions
    hear = moving.callback

    def count(message: TFMessage) -> None:
        turns.append(message)
        hear(message)

    moving.callback = count
    made.talk.node._shared.executor.call(go_on.wait)
    before = transforms._heard
    for number in range(50):
        made.tf.publish(TFMessage(transforms=[message_of((False, "odom", "base", 10.0 + number, (0.0,) * 3, NO_TURN))]))
    robot.until(lambda: made.tf.wait_for_all_acked(), "all are there")
    go_on.set()
    robot.until(lambda: transforms._heard == before + 50, "all are heard")
    assert len(turns) < 5


# In our words, or in those of tf2.
FAULTS = {
    "before": ((6.0, 7.0), "odom", "begins at 6.000|into the past"),
    "after": ((3.0, 4.0), "odom", "ends at 4.000|into the future"),
    "no such frame": ((), "odom", "names 'odom'|does not exist"),
    "another tree": ((4.0, 6.0), "map", "names 'odom'|does not exist"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_without_a_transform_a_place_says_why_and_the_next_one_is_there(robot, rig, scripted, fault) -> None:
    made = rig()
    seconds, parent, text = FAULTS[fault]

    def meanwhile() -> None:
        made.see(5)
        made.drive(*seconds, parent=parent)

    reason = thinking(scripted, made, 5, meanwhile)["no_position"]
    assert reason["cause"] == "no_transform"
    assert reason["text"].startswith("no transform from camera_optical to odom at 5.123: ")
    assert re.search(text, reason["text"])
    assert made.places.wait_for().detections == []
    assert made.talk.diagnostic("errors: no_position_no_transform", "1")
    # Eight hours on.
    made.see(28_800)
    made.drive(28_799.5, 28_800.5)
    found = thinking(scripted, made, 28_800, lambda: None)
    assert found["position_m"] == pytest.approx(in_odom(28_800), abs=0.04)


def test_a_transform_that_comes_after_a_quick_answer_is_waited_for(robot, rig, scripted, monkeypatch) -> None:
    monkeypatch.setattr(transform_input, "LATEST_S", 60.0)
    made = rig()
    made.see(5)
    made.drive(4.0)
    transforms = made.talk.node._outputs._transforms
    asked = []
    wait_for = transforms._wait_for_news
    transforms._wait_for_news = lambda heard, left_s: (asked.append(left_s), wait_for(heard, left_s))
    made.film(5)
    robot.until(lambda: asked, "the place waits")
    assert made.talk.told() == []
    # The node goes on meanwhile.
    assert robot.set_parameters(max_rate_hz=4.0).successful
    made.drive(4.9, 5.0)
    robot.until(lambda: len(asked) > 1, "it waits on")
    made.drive(5.2)
    assert made.answer(5)["position_m"] == pytest.approx(in_odom(5), abs=0.04)


def test_an_answer_does_not_wait_for_a_transform_that_has_stopped(robot, rig, scripted) -> None:
    made = rig()
    made.see(5)
    made.drive(3.0, 4.0)
    reason = thinking(scripted, made, 5, lambda: None)["no_position"]
    assert re.search("ends at 4.000, 1.123 s before|latest data is at time 4.000", reason["text"])


def test_transforms_of_another_time_are_counted(robot, rig, scripted) -> None:
    made = rig()
    made.drive(1000.0, 1001.0)
    # As when a bag begins again without `use_sim_time`.
    made.drive(5.0)
    # tf2 logs them by itself.
    if isinstance(made.talk.node._outputs._transforms._transforms, OwnTransforms):
        assert made.talk.diagnostic("errors: bad_transform", "1")
        made.talk.logs.wait_for(lambda line: "996.000 s older than the newest" in line.msg)


def test_a_clock_that_is_set_back_empties_what_moves(robot, rig, scripted) -> None:
    clock = robot.client.create_publisher(ClockMessage, "/clock", 10)
    made = rig(use_sim_time=True)
    ros_clock = made.talk.node.get_clock()

    def set_clock(seconds: int) -> None:
        def is_set() -> bool:
            clock.publish(ClockMessage(clock=Time(sec=seconds)))
            return ros_clock.now().nanoseconds == seconds * 10**9

        robot.until(is_set, "the clock is heard")

    set_clock(1001)
    made.drive(1000.0, 1001.0)
    set_clock(6)
    made.see(5)
    made.drive(4.0, 6.0)
    assert thinking(scripted, made, 5, lambda: None)["position_m"] == pytest.approx(in_odom(5), abs=0.04)
    assert "errors: bad_transform" not in made.talk.later(lambda values: True)


def test_the_target_frame_changes_live_and_tf_is_heard_only_for_it(robot, rig, scripted) -> None:
    made = rig()
    node = made.talk.node
    assert node.count_subscribers("/tf") == node.count_subscribers("/tf_static") == 1
    assert robot.set_parameters(target_frame="").successful
    robot.until(lambda: node.count_subscribers("/tf") == 0, "/tf is left alone")
    made.see(5)
    found = thinking(scripted, made, 5, lambda: None)
    assert found["position_m"] == pytest.approx(PLACE_M, abs=0.04)
    assert found["position_frame"] == "camera_optical"
    assert robot.set_parameters(target_frame="camera_optical").successful
    made.see(6)
    assert thinking(scripted, made, 6, lambda: None)["position_m"] == pytest.approx(PLACE_M, abs=0.04)
