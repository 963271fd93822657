"""Several cameras on one node, over DDS."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from vlm_perception.errors import SettingsError
from vlm_perception.ros.image_messages import image_message

SIZES = {"/front/image_raw": (28, 42), "/back/image_raw": (56, 28), "/arm/image_raw": (30, 50)}


def cameras_of(robot: Any) -> dict[str, Any]:
    return {topic: robot.client.create_publisher(Image, topic, 1) for topic in SIZES}


def film_until(robot: Any, header_of: Any, cameras: dict[str, Any], done: Any, first: int = 1) -> None:
    """Publish on all cameras, each under a frame_id of its own, until `done`."""
    number = first - 1

    def step() -> bool:
        nonlocal number
        number += 1
        for topic, camera in cameras.items():
            height, width = SIZES[topic]
            header = header_of(number, frame_id=topic.split("/")[1])
            camera.publish(image_message(np.zeros((height, width, 3), np.uint8), header))
        with robot.changed:
            robot.changed.wait(0.05)
        return bool(done())

    robot.until(step, "answers of the cameras")


def test_each_camera_is_answered_under_its_own_name_and_header(robot, scripted, header_of) -> None:
    robot.node(scripted, prompt="cup", image_topics=list(SIZES))
    heard = {name: robot.hear(f"/vlm_perception/{name}/answer", String) for name in ("front", "back", "arm")}
    boxes = {name: robot.hear(f"/vlm_perception/{name}/detections", Detection2DArray) for name in heard}
    film_until(robot, header_of, cameras_of(robot), lambda: all(len(h.messages) > 2 for h in heard.values()))
    for name, answers in heard.items():
        height, width = SIZES[f"/{name}/image_raw"]
        said = [json.loads(message.data) for message in answers.messages]
        assert {(s["camera"], s["frame_id"], *s["image_wh"]) for s in said} == {
            (f"/{name}/image_raw", name, width, height)
        }
        assert len({s["stamp"]["sec"] for s in said}) == len(said), "no frame is answered twice"
        assert {m.header.frame_id for m in boxes[name].messages} == {name}


def test_a_camera_that_dies_harms_no_other_and_may_come_back(robot, scripted, header_of) -> None:
    robot.node(scripted, prompt="cup", image_topics=list(SIZES), no_image_warning_s=0.5, diagnostics_period_s=0.1)
    heard = {name: robot.hear(f"/vlm_perception/{name}/answer", String) for name in ("front", "back", "arm")}
    cameras = cameras_of(robot)
    film_until(robot, header_of, cameras, lambda: all(h.messages for h in heard.values()))
    robot.client.destroy_publisher(cameras.pop("/arm/image_raw"))
    counts = {name: len(h.messages) for name, h in heard.items()}
    film_until(robot, header_of, cameras, lambda: len(heard["front"].messages) > counts["front"] + 3, first=1000)
    assert len(heard["back"].messages) > counts["back"]
    cameras["/arm/image_raw"] = robot.client.create_publisher(Image, "/arm/image_raw", 1)
    count = len(heard["arm"].messages)
    film_until(robot, header_of, cameras, lambda: len(heard["arm"].messages) > count, first=2000)


def test_cameras_come_and_go_while_the_node_runs(robot, scripted, header_of) -> None:
    node = robot.node(scripted, prompt="cup", image_topics=["/front/image_raw"])
    alone = robot.hear("/vlm_perception/answer", String)
    cameras = cameras_of(robot)
    film_until(robot, header_of, cameras, lambda: alone.messages)
    both = Parameter("image_topics", value=["/front/image_raw", "/back/image_raw"])
    assert node.set_parameters([both])[0].successful
    back = robot.hear("/vlm_perception/back/answer", String)
    film_until(robot, header_of, cameras, lambda: back.messages, first=1000)
    assert robot.client.count_publishers("/vlm_perception/answer") == 0
    refused = node.set_parameters([Parameter("image_topics", value=["/front image"])])[0]
    assert not refused.successful
    assert "/front image" in refused.reason
    refused = node.set_parameters([Parameter("camera_weights", value=[1.0])])[0]
    assert "camera_weights has 1 values for 2 cameras" in refused.reason


@pytest.mark.parametrize("topics", [["/a b"], ["/a", "/a"], ["a", "/a"]])
def test_topics_that_cannot_be_used_are_refused_at_the_start(robot, scripted, topics: list[str]) -> None:
    with pytest.raises(SettingsError, match="image_topics"):
        robot.node(scripted, image_topics=topics)
