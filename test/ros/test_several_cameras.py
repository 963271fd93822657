"""Several cameras on one node, over DDS."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from robot import header
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.outputs.publishers import Outputs
from vlm_perception.types import Answer, Frame, FrameHeader, PixelBudget, Prompt, Request, Result, Task, Timings

SIZES = {"/front/image_raw": (28, 42), "/back/image_raw": (56, 28), "/arm/image_raw": (30, 50)}


def cameras_of(robot: Any) -> dict[str, Any]:
    return {topic: robot.client.create_publisher(Image, topic, 1) for topic in SIZES}


def film_until(robot: Any, cameras: dict[str, Any], done: Any, first: int = 1) -> None:
    """Publish on all cameras, each under a frame_id of its own, until `done`."""
    number = first - 1

    def step() -> bool:
        nonlocal number
        number += 1
        for topic, camera in cameras.items():
            height, width = SIZES[topic]
            sent = header(number, frame_id=topic.split("/")[1])
            camera.publish(image_message(np.zeros((height, width, 3), np.uint8), sent))
        with robot.changed:
            robot.changed.wait(0.05)
        return bool(done())

    robot.until(step, "answers of the cameras")


def test_each_camera_is_answered_under_its_own_name_and_header(robot, scripted) -> None:
    robot.node(scripted, prompt="cup", image_topics=list(SIZES))
    heard = {name: robot.hear(f"/vlm_perception/{name}/answer", String) for name in ("front", "back", "arm")}
    boxes = {name: robot.hear(f"/vlm_perception/{name}/detections", Detection2DArray) for name in heard}
    film_until(robot, cameras_of(robot), lambda: all(len(h.messages) > 2 for h in heard.values()))
    for name, answers in heard.items():
        height, width = SIZES[f"/{name}/image_raw"]
        said = [json.loads(message.data) for message in answers.messages]
        assert {(s["camera"], s["frame_id"], *s["image_wh"]) for s in said} == {
            (f"/{name}/image_raw", name, width, height)
        }
        assert len({s["stamp"]["sec"] for s in said}) == len(said), "no frame is answered twice"
        assert {m.header.frame_id for m in boxes[name].messages} == {name}


def test_a_camera_that_dies_harms_no_other_and_may_come_back(robot, scripted) -> None:
    robot.node(scripted, prompt="cup", image_topics=list(SIZES), no_image_warning_s=0.5)
    heard = {name: robot.hear(f"/vlm_perception/{name}/answer", String) for name in ("front", "back", "arm")}
    cameras = cameras_of(robot)
    film_until(robot, cameras, lambda: all(h.messages for h in heard.values()))
    robot.client.destroy_publisher(cameras.pop("/arm/image_raw"))
    counts = {name: len(h.messages) for name, h in heard.items()}
    film_until(robot, cameras, lambda: len(heard["front"].messages) > counts["front"] + 3, first=1000)
    assert len(heard["back"].messages) > counts["back"]
    cameras["/arm/image_raw"] = robot.client.create_publisher(Image, "/arm/image_raw", 1)
    count = len(heard["arm"].messages)
    film_until(robot, cameras, lambda: len(heard["arm"].messages) > count, first=2000)


def test_cameras_come_and_go_while_the_node_runs(robot, scripted) -> None:
    node = robot.node(scripted, prompt="cup", image_topics=["/front/image_raw"])
    alone = robot.hear("/vlm_perception/answer", String)
    cameras = cameras_of(robot)
    film_until(robot, cameras, lambda: alone.messages)
    both = Parameter("image_topics", value=["/front/image_raw", "/back/image_raw"])
    assert node.set_parameters([both])[0].successful
    back = robot.hear("/vlm_perception/back/answer", String)
    film_until(robot, cameras, lambda: back.messages, first=1000)
    assert robot.client.count_publishers("/vlm_perception/answer") == 0
    refused = node.set_parameters([Parameter("image_topics", value=["/front image"])])[0]
    assert not refused.successful
    assert "/front image" in refused.reason
    refused = node.set_parameters([Parameter("camera_weights", value=[1.0])])[0]
    assert "camera_weights has 1 values for 2 cameras" in refused.reason


def test_a_camera_that_was_taken_away_can_be_added_again(robot, scripted) -> None:
    node = robot.node(scripted, prompt="cup", image_topics=["/front/image_raw", "/back/image_raw"])
    cameras = cameras_of(robot)
    for first, topics in ((1, ["/front/image_raw"]), (1000, ["/front/image_raw", "/back/image_raw"])):
        assert node.set_parameters([Parameter("image_topics", value=topics)])[0].successful
        name = "/vlm_perception/back/answer" if len(topics) > 1 else "/vlm_perception/answer"
        heard = robot.hear(name, String)
        film_until(robot, cameras, lambda h=heard: h.messages, first=first)


def test_a_change_that_is_refused_in_part_changes_nothing(robot, scripted) -> None:
    node = robot.node(scripted, prompt="cup", image_topics=["/front/image_raw"])
    changes = [Parameter("image_topics", value=["/back/image_raw"]), Parameter("prompt", value="point:")]
    refused = node.set_parameters_atomically(changes)
    assert "names nothing to look for" in refused.reason
    robot.until(lambda: robot.client.count_subscribers("/front/image_raw") == 1, "front is looked at")
    assert node.count_subscribers("/back/image_raw") == 0


def test_what_is_on_its_way_when_a_cameras_topics_are_renamed_harms_nothing(robot) -> None:
    """The worker draws and publishes while the node's thread takes the topics away."""
    robot.hear("/client/annotated_image", Image)
    outputs = Outputs(robot.client)
    outputs.use(["/front/image_raw"])
    old = outputs.of("/front/image_raw")
    assert old is not None
    robot.until(lambda: robot.client.count_subscribers("/client/annotated_image") == 1, "watched")
    frame = Frame(np.zeros((28, 42, 3), np.uint8), FrameHeader(1, 0, "front"), "/front/image_raw", 0.0)
    request = Request(frame, Prompt("cup", Task.DETECT, "Find cup.", ("cup",)), PixelBudget(3136, 10**6), 64)
    answer = Answer("[]", (42, 28), "absolute", "stop", (), Timings(0.0, 0.0, 0.0))
    result = Result(request, answer, (), (), "")
    drawn: list[Any] = []
    robot.until(lambda: bool(drawn.append(old.drawn(result, 90)) or drawn[-1]), "somebody looks, so it is drawn")
    outputs.use(["/front/image_raw", "/back/image_raw"])
    drawn[-1]()
    old.publish_answer(result, 0.0, 0.0)
    assert old.drawn(result, 90) is None


def test_each_camera_has_a_diagnostic_status_of_its_own(robot, scripted) -> None:
    robot.node(scripted, prompt="cup", image_topics=list(SIZES), no_image_warning_s=0.5)
    told = robot.hear("/diagnostics", DiagnosticArray)
    cameras = cameras_of(robot)
    robot.client.destroy_publisher(cameras.pop("/arm/image_raw"))

    def statuses() -> dict[str, Any]:
        return {status.hardware_id: status for status in told.messages[-1].status} if told.messages else {}

    def values(topic: str) -> dict[str, str]:
        return {value.key: value.value for value in statuses()[topic].values}

    def done() -> bool:
        counted = statuses().keys() >= SIZES.keys() and all(int(values(topic)["answers"]) > 1 for topic in cameras)
        return counted and statuses()["/arm/image_raw"].message == "no image on /arm/image_raw"

    film_until(robot, cameras, done)
    assert statuses()["/arm/image_raw"].name == "/vlm_perception: /arm/image_raw"
    assert statuses()["/front/image_raw"].message == "images come"
    assert values("/arm/image_raw")["answers"] == "0"
    assert float(values("/front/image_raw")["age of newest answered image (s)"]) >= 0.0
