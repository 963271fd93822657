"""Objects of answers stand in space where they were in the image that was asked; whoever has no place says why."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from depth_rig import FOCAL_PX, PLACE_M, Rig, calibration, depth_m, packed, raw, thinking
from robot import header
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from vlm_perception.ros import image_messages
from vlm_perception.ros.inputs import depth as depth_input
from vlm_perception.ros.inputs.depth import Pins
from vlm_perception.world.camera_model import camera_of


@pytest.fixture
def rig(robot, talk, scripted):
    def make(**options) -> Rig:
        return Rig(robot, talk, scripted, **options)

    return make


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
    assert detection.id == found["id"]
    guess = detection.results[0]
    assert (guess.hypothesis.class_id, detection.header) == ("red cart", header(5))
    assert guess.pose.pose == detection.bbox.center
    assert min(guess.pose.covariance[place] for place in (0, 7, 14)) > 0
    first, *shown = made.markers.wait_for().markers
    assert first.action == Marker.DELETEALL
    assert [marker.ns for marker in shown] == ["boxes", "labels"]
    assert shown[1].text == f"red cart {found['id']}, 2.0 m"


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


@pytest.mark.parametrize("view", ["whole", "part", "joined", "rectified"])
def test_a_calibration_of_the_whole_sensor_is_made_that_of_the_images(view: str) -> None:
    """`sensor_msgs/CameraInfo`: K is of the sensor, before binning and region of interest; P of rectified images."""
    info = CameraInfo(width=192, height=128, distortion_model="plumb_bob", d=[0.3, 0.0, 0.0, 0.0, 0.0])
    info.k = [160.0, 0.0, 95.5, 0.0, 160.0, 63.5, 0.0, 0.0, 1.0]
    info.p = [150.0, 0.0, 95.5, 0.0, 0.0, 150.0, 63.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    if view == "part":
        info.roi = RegionOfInterest(x_offset=48, y_offset=32, width=96, height=64)
    elif view == "joined":
        info.binning_x = info.binning_y = 2
    camera = camera_of(info, rectified=view == "rectified")
    sizes = {"part": (96, 64), "joined": (96, 64)}
    focals_px = {"whole": 160.0, "part": 160.0, "joined": 80.0, "rectified": 150.0}
    size, focal_px = sizes.get(view, (192, 128)), focals_px[view]
    assert (camera.image_wh, camera.k[0]) == (size, focal_px)
    assert (camera.k[2], camera.k[5]) == ((size[0] - 1) / 2, (size[1] - 1) / 2)
    assert any(camera.d) == (view != "rectified")


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
        "/vlm_perception/rear/tracks_3d",
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


@pytest.mark.parametrize(("limit_bytes", "kept"), [(0, 2), (250, 2), (300, 3), (10_000, 6)])
def test_more_items_are_kept_where_they_fit(limit_bytes: int, kept: int) -> None:
    pins: Pins[str] = Pins(kept=2)
    for stamp_ns in range(1, 7):
        pins.arrived(stamp_ns, "an item", 100, limit_bytes)
    assert pins.closest(0) == (7 - kept, "an item")
    # Also once the limit has become a lower one.
    pins.arrived(7, "an item", 100, 0)
    assert pins.closest(0) == (6, "an item")


@pytest.mark.parametrize(
    ("tracking", "prompt_id", "expected"), [("off", "carts", "carts"), ("ids", "carts", "carts/1"), ("off", "", "")]
)
def test_a_place_has_the_id_of_its_detection(robot, rig, scripted, tracking, prompt_id, expected) -> None:
    made = rig(tracking=tracking)
    if prompt_id:
        made.talk.ask(json.dumps([{"id": prompt_id, "prompt": "red cart"}]))
    depth = made.talk.node._outputs.of("/image")._depth

    def send() -> None:
        made.depth.publish(raw(5, depth_m()))
        made.info.publish(calibration(5))
        robot.until(lambda: (depth._depths.count, depth._infos.count) == (1, 1), "all is heard")

    thinking(scripted, made, 5, send)
    (flat,), (placed,) = made.talk.detections.wait_for().detections, made.places.wait_for().detections
    assert (flat.id, placed.id) == (expected, expected)
    assert made.markers.wait_for().markers[-1].text == " ".join(f"red cart {expected}".split()) + ", 2.0 m"
