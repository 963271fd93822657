"""What cameras and clocks do wrong, over real DDS; docs/troubleshooting.md lists all faults."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from robot import flood
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

BOX = '[{"bbox_2d": [2, 4, 11, 20], "label": "cup"}]'


def test_a_camera_dies_and_comes_back(robot, talk, scripted):
    t = talk(scripted, prompt="red cup", no_image_warning_s=0.5)
    t.show_until(t.detections)
    robot.client.destroy_publisher(t.camera)
    gone = t.later(lambda values: values["message"] == "no image on /image")
    assert gone["level"] == "1"
    said = t.logs.wait_for(lambda m: "no image on /image" in m.msg).msg
    assert "nobody publishes it" in said
    t.camera = robot.camera()
    t.lives(900, "camera outages")
    fine = t.later(lambda values: values["level"] == "0", lambda: t.show(901))
    assert (fine["message"], "dropped: stale" in fine) == ("detecting", False)
    t.logs.wait_for(lambda m: m.msg == "images come on /image again")


def raw(number: int, encoding: str, wh: tuple[int, int], step: int, n_bytes: int, frame_id: str) -> Image:
    return Image(
        header=Header(stamp=Time(sec=number), frame_id=frame_id),
        encoding=encoding,
        width=wh[0],
        height=wh[1],
        step=step,
        data=bytes(range(256)) * (n_bytes // 256) + bytes(n_bytes % 256),
    )


CHANGES = [
    raw(11, "rgb8", (42, 28), 126, 126 * 28, "left"),
    raw(12, "mono8", (320, 240), 320, 320 * 240, "left"),
    raw(13, "bgra8", (64, 200), 300, 300 * 200, "right"),
    raw(14, "yuv422_yuy2", (42, 28), 84, 84 * 28, "right"),
    raw(15, "bayer_rggb8", (30, 20), 30, 600, ""),
    raw(16, "nv12", (64, 48), 64, 64 * 72, "left"),
    raw(17, "16UC1", (20, 90), 40, 3600, "depth"),
    raw(18, "rgb8", (42, 28), 126, 126 * 28, "left"),
]


def test_a_camera_changes_size_encoding_and_frame_in_mid_run(robot, talk, scripted):
    scripted.reply = BOX
    t = talk(scripted, prompt="red cup")
    pictures = robot.hear("/vlm_perception/annotated_image", Image)
    for message in CHANGES:
        t.camera.publish(message)
        answer = t.answer_to(message.header.stamp.sec)
        assert answer["image_wh"] == [message.width, message.height]
        assert answer["frame_id"] == message.header.frame_id
        assert answer["objects"][0]["bbox_xyxy"] == [2.0, 4.0, 11.0, 20.0]
        found = t.detections.wait_for(lambda m, wanted=message: m.header == wanted.header)
        assert len(found.detections) == 1
        drawn = pictures.wait_for(lambda m, wanted=message: m.header == wanted.header)
        assert drawn.width == message.width
        assert drawn.height >= message.height, "a bar with the words may be below"
    values = t.lives(900)["diagnostics"]
    assert [key for key in values if key.startswith(("errors: ", "dropped: "))] in ([], ["dropped: replaced"])


def test_simulated_time_is_set_back(robot, talk, scripted):
    t = talk(scripted, prompt="red cup", use_sim_time=True)
    node = t.node
    clock = robot.client.create_publisher(Clock, "/clock", 1)

    def set_time(sec: int) -> None:
        def is_set() -> bool:
            clock.publish(Clock(clock=Time(sec=sec)))
            return node.get_clock().now().nanoseconds == sec * 10**9

        robot.until(is_set, f"the node's clock is at {sec} s")

    set_time(50)
    t.show(48)
    assert t.answer_to(48)["timings"]["age_s"] == pytest.approx(50 - 48.123456789)
    t.diagnostics.wait_for(lambda m: m.header.stamp.sec == 50)
    scripted.thinking.set()
    t.show(49)
    scripted.wait_asked(2)
    set_time(5)
    scripted.thinking.clear()
    assert t.answer_to(49)["timings"]["age_s"] is None
    t.logs.wait_for(lambda m: "time was set back by 45.00 s" in m.msg)
    t.logs.wait_for(lambda m: "44.12 s ahead of the node's clock" in m.msg and "/clock" in m.msg)
    # A bag that begins again sends the same stamps.
    set_time(50)
    t.show(48)
    robot.until(lambda: [a["stamp"]["sec"] for a in t.told()].count(48) == 2, "the same stamp is answered again")
    set_time(5)
    lives = t.lives(4, "errors: time_went_back", "errors: stamp_ahead")
    assert lives["timings"]["age_s"] == pytest.approx(5 - 4.123456789)
    values = lives["diagnostics"]
    assert "dropped: stale" not in values
    assert 0.0 <= float(values["frame age p50 (ms)"]) < 2000.0
    assert float(values["latency p50 (ms)"]) >= 0.0


def test_simulated_time_that_never_comes_does_not_stop_the_answers(robot, talk, scripted):
    t = talk(scripted, prompt="red cup", use_sim_time=True)
    lives = t.lives(900, "errors: stamp_ahead")
    assert lives["timings"]["age_s"] is None
    assert lives["diagnostics"]["frame age p50 (ms)"] == ""


def test_stamps_of_zero(robot, talk, scripted):
    scripted.reply = BOX
    t = talk(scripted, prompt="red cup")
    calibration = robot.hear("/vlm_perception/camera_info", CameraInfo)
    infos = robot.camera("/camera_info", CameraInfo, 10)
    unstamped = raw(0, "mono8", (64, 48), 64, 64 * 48, "camera_optical")
    for count in (1, 2, 3):
        infos.publish(CameraInfo(header=unstamped.header, width=64, height=48))
        t.camera.publish(unstamped)
        robot.until(lambda wanted=count: len(t.answers.messages) == wanted, "it is answered")
        answer = t.told()[-1]
        assert (answer["stamp"], answer["timings"]["age_s"]) == ({"sec": 0, "nanosec": 0}, None)
    robot.until(lambda: len(t.detections.messages) == 3, "as often in detections")
    assert t.detections.messages[-1].header == unstamped.header
    calibration.wait_for(lambda m: m.header == unstamped.header)
    said = t.logs.wait_for(lambda m: "carry no stamp" in m.msg).msg
    assert "/image" in said
    assert "let the camera's driver stamp them" in said
    values = t.lives(900, "errors: no_stamp")["diagnostics"]
    assert values["errors: no_stamp"] == "3"
    assert len([m for m in t.logs.messages if "carry no stamp" in m.msg]) == 1, "throttled"


def test_a_flood_of_images_at_200_hz(robot, talk, scripted):
    t = talk(scripted, prompt="red cup", max_rate_hz=1000.0)
    t.show_until(t.detections)
    rgb = np.zeros((240, 320, 3), np.uint8)
    scripted.thinking.set()
    asked, seen = len(scripted.requests), len(t.diagnostics.messages)
    flood(200.0, 400, lambda number: t.show(1000 + number, rgb))
    # A frame that was being answered when it began, and the first of the flood.
    assert len(scripted.requests) - asked <= 2
    assert len(t.diagnostics.messages) >= seen + 3, "the executor is free meanwhile"
    scripted.thinking.clear()
    t.answer_to(1400)
    flood(200.0, 200, lambda number: t.show(2000 + number, rgb))
    t.answer_to(2200)
    stamps = [answer["stamp"]["sec"] for answer in t.told() if answer["stamp"]["sec"] > 1000]
    assert stamps == sorted(set(stamps)), "none twice, none after a newer one"
    # The one that was thought about, the newest after it, and those of the second flood.
    assert len([stamp for stamp in stamps if stamp < 2000]) <= 3
    values = t.lives(900, "dropped: replaced")["diagnostics"]
    assert int(values["images received"]) > 100
