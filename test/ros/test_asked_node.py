"""The client with which benchmarks ask the node: an answer that comes late is taken, however often was asked."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import Image

from benchmarks import asked_node

RGB = np.full((28, 42, 3), 200, np.uint8)


@pytest.fixture
def client(robot, scripted, monkeypatch):
    monkeypatch.setattr(asked_node, "FIRST_WAIT_S", 0.5)
    robot.node(scripted, watch_window_s=5.0, watch_rate_hz=5.0)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=robot.domain_id)
    node = rclpy.create_node("asking_client", context=context)
    made = asked_node.AskingClient(node)
    made.wait_ready()
    yield made
    node.destroy_node()
    context.shutdown()


def test_an_answer_to_a_frame_that_was_shown_before_the_last_is_taken(robot, scripted, client):
    scripted.reply = '[{"bbox_2d": [1, 2, 20, 22], "label": "cup"}]'
    scripted.thinking.set()
    shown: list[Image] = []
    robot.client.create_subscription(Image, "/image", shown.append, 10)

    def answer_late() -> None:
        scripted.wait_asked(1)
        robot.until(lambda: len(shown) >= 2, "the frame is shown again")
        scripted.thinking.clear()

    late = threading.Thread(target=answer_late)
    late.start()
    detections, answer = client.ask("cup", [RGB])
    late.join()
    first = scripted.requests[0]
    assert answer["stamp"]["sec"] == detections.header.stamp.sec == first.frame.header.stamp_sec
    assert [found.results[0].hypothesis.class_id for found in detections.detections] == ["cup"]


def test_a_clip_is_answered_as_a_whole_and_alone(robot, scripted, client):
    scripted.reply = "It stops in 00:00.50 - 00:01.00."
    for _ in range(2):
        _, answer = client.ask("watch: what happened?", [RGB] * 3, step_s=0.5)
        assert answer["clip"] == {"duration_s": 1.0, "frames": 3}
        assert answer["events"][0]["end_s"] == 1.0
