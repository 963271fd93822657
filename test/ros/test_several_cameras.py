"""Several cameras on one node, over DDS."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from results import result_of
from robot import header
from sensor_msgs.msg import Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from vlm_perception.drawing.annotate import annotate
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.outputs.publishers import Outputs

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


def test_cameras_come_and_go_while_the_node_runs_and_may_come_again(robot, scripted) -> None:
    node = robot.node(scripted, prompt="cup", image_topics=["/front/image_raw"])
    cameras = cameras_of(robot)
    for turn in range(4):
        name = "/vlm_perception/answer" if turn % 2 == 0 else "/vlm_perception/back/answer"
        heard = robot.hear(name, String)
        film_until(robot, cameras, lambda h=heard: h.messages, first=1 + 1000 * turn)
        other = ["/front/image_raw", "/back/image_raw"][: 2 - turn % 2]
        assert node.set_parameters([Parameter("image_topics", value=other)])[0].successful
        robot.until(lambda left=name: robot.client.count_publishers(left) == 0, "its old topic is gone")


def test_what_is_on_its_way_when_a_cameras_topics_are_renamed_harms_nothing(robot) -> None:
    """The worker draws and publishes while the node's thread takes the topics away."""
    robot.hear("/client/annotated_image", Image)
    outputs = Outputs(robot.client)
    outputs.use(["/front/image_raw"])
    old = outputs.of("/front/image_raw")
    assert old is not None
    robot.until(lambda: robot.client.count_subscribers("/client/annotated_image") == 1, "watched")
    result = result_of(np.zeros((28, 42, 3), np.uint8))
    drawn: list[Any] = []

    def draw() -> Any:
        frame = result.request.frame
        return old.drawn(frame.header, lambda: annotate(frame.rgb, result), 90)

    robot.until(lambda: bool(drawn.append(draw()) or drawn[-1]), "somebody looks, so it is drawn")
    outputs.use(["/front/image_raw", "/back/image_raw"])
    drawn[-1]()
    old.publish_answer(result, 0.0, 0.0)
    assert draw() is None


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
