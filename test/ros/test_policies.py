"""Which frames are answered, and what ends an answer, over DDS."""

from __future__ import annotations

import itertools
import threading

import pytest
from concurrent_engine import ConcurrentEngine
from PIL import Image as Picture
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from scripted_engine import PATIENCE_S
from std_srvs.srv import Trigger

from vlm_perception.apps.cameras.file_camera import FileCamera

BURST = 40


@pytest.mark.parametrize("live", [False, True], ids=["from the start", "set live"])
def test_every_answers_all_frames_of_a_burst_in_order(robot, talk, scripted, live):
    """The node's thread may be held up for a moment: what a bag plays meanwhile must not be lost."""
    policy = {} if live else {"frame_policy": "every"}
    t = talk(scripted, prompt="cup", max_rate_hz=1000.0, camera_qos=BURST, **policy)
    if live:
        assert robot.set_parameters(frame_policy="every").successful
        robot.settle("/image")
    held, go = threading.Event(), threading.Event()
    t.node.executor.create_task(lambda: (held.set(), go.wait()))
    assert held.wait(PATIENCE_S)
    for number in range(BURST):
        t.show(number)
    go.set()
    robot.until(lambda: len(t.told()) >= BURST, "all are answered")
    assert [answer["stamp"]["sec"] for answer in t.told()] == list(range(BURST))


def test_every_answers_a_whole_folder_each_prompt_once_a_frame(robot, talk, scripted, tmp_path):
    for number in range(8):
        Picture.new("RGB", (16 + number, 12)).save(tmp_path / f"{number}.png")
    t = talk(
        scripted,
        prompt='["cup", "bowl"]',
        frame_policy="every",
        remap=("image:=/file_camera/image",),
        camera_topic="/file_camera/image",
    )
    robot.client.destroy_publisher(t.camera)
    values = {"path": str(tmp_path), "rate_hz": 20, "loop": False}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    camera = FileCamera(context=robot.context, parameter_overrides=overrides)
    robot.spin(camera.node)
    try:
        robot.until(lambda: len(t.told()) >= 16, "all frames, both prompts")
        asked = [(answer["image_wh"][0], answer["prompt_id"]) for answer in t.told()]
        assert sorted(asked) == sorted(itertools.product(range(16, 24), "12"))
        assert [width for width, _ in asked] == sorted(width for width, _ in asked)
    finally:
        robot.stop_spinning()
        camera.close()


def test_setting_on_demand_ends_the_running_answer_before_it_is_acknowledged(robot, talk, scripted):
    scripted.deaf = True
    scripted.thinking.set()
    t = talk(scripted, prompt="cup")
    robot.until(lambda: bool(t.show(1)) and bool(scripted.requests), "asked")
    assert robot.set_parameters(frame_policy="on_demand").successful
    scripted.deaf = False
    robot.until(lambda: scripted.aborted == 1, "aborted")
    scripted.thinking.clear()
    future = robot.begin_call(Trigger, "detect_once")
    robot.until(lambda: bool(t.show(2)) and future.done(), "one answer")
    assert future.result().success, future.result().message
    robot.until(lambda: bool(t.told()), "it is published, too")
    # The first was aborted, and none was asked but by the service.
    assert (len(scripted.requests), len(t.told())) == (2, 1)


def test_a_single_answer_may_take_longer_than_the_camera_may_be_silent(robot, talk, scripted):
    """One picture and a slow model: the picture has come, so nobody is told that there is none."""
    scripted.thinking.set()
    t = talk(scripted, prompt="cup", frame_policy="on_demand", no_image_warning_s=0.5)
    t.diagnostic("engine state", "ready")
    t.show_until(t.diagnostics)
    future = robot.begin_call(Trigger, "detect_once")
    robot.until(lambda: bool(t.show(1)) and bool(scripted.requests), "asked")
    silent = "no image on /image"
    before = len(t.diagnostics.messages)
    robot.until(lambda: any(m.status[0].message == silent for m in t.diagnostics.messages[before:]), "silent")
    after = len(t.diagnostics.messages)
    robot.until(lambda: len(t.diagnostics.messages) > after + 2, "the node has looked again")
    scripted.thinking.clear()
    robot.until(future.done, "the answer")
    assert future.result().success, future.result().message


def test_with_simulated_time_ages_are_told_by_stamps(robot, talk, scripted):
    clock = robot.client.create_publisher(Clock, "/clock", 10)
    t = talk(scripted, prompt="cup", use_sim_time=True)

    def at_1000() -> bool:
        now = Clock()
        now.clock.sec = 1000
        clock.publish(now)
        return bool(t.node.get_clock().now().nanoseconds >= 1000 * 10**9)

    robot.until(at_1000, "the clock is heard")
    robot.until(lambda: bool(t.show(997)) and bool(t.told()), "an answer")
    # The stamp's own nanoseconds are 123456789.
    assert t.told()[0]["timings"]["age_s"] == pytest.approx(1000 - 997.123456789)
    assert 0.0 <= t.told()[0]["timings"]["latency_s"] < 997


def test_a_silent_camera_is_told_although_simulated_time_stands_still(robot, scripted):
    logs = robot.hear_log()
    robot.node(scripted, prompt="cup", use_sim_time=True, no_image_warning_s=0.2)
    logs.wait_for(lambda m: "no image on /image" in m.msg)


def test_a_later_frame_is_answered_while_an_earlier_one_is_asked_about_and_overtakes_it(robot, talk):
    engine = ConcurrentEngine()
    t = talk(engine, prompt="cup", max_rate_hz=1000.0)
    for number in (1, 2, 3):
        t.show(number)
        robot.until(lambda n=number: len(engine.calls) == n, "asked")
        if number > 1:
            engine.call(number, camera="/image").end()
            t.answer_to(number)
    assert [answer["stamp"]["sec"] for answer in t.told()] == [2, 3]
    # The frame that was overtaken ends on a thread of its own, before or after the last answer is counted.
    t.later(lambda values: values.get("dropped: overtaken") == "1" and values.get("answers") == "2")
    assert engine.call(1, camera="/image").aborted
