"""`~/detect`: goals, feedback, results and cancelling, with a real action client over DDS."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import vlm_perception_msgs.srv
from builtin_interfaces.msg import Duration, Time
from concurrent_engine import ConcurrentEngine
from depth_rig import PLACE_M, Rig, calibration, depth_m, raw
from goals import ABORTED, CANCELED, SUCCEEDED, Goals
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import CancelResponse
from rclpy.action.server import GoalEvent, ServerGoalHandle
from robot import Robot, header
from scripted_engine import PATIENCE_S
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import SetBool
from vlm_perception_msgs.action import Detect
from vlm_perception_msgs.srv import DetectAt

from vlm_perception.ros import goal_server
from vlm_perception.ros.goal_server import MAX_GOALS
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.inputs.depth import KEPT_MESSAGES

ONE = '[{"bbox_2d": [1, 2, 20, 20], "label": "mug"}'
TWO = ONE + ', {"bbox_2d": [5, 5, 25, 25], "label": "mug"}]'
PICTURE = image_message(np.zeros((28, 42, 3), np.uint8), header(77))


@pytest.fixture
def goals(robot: Robot) -> Iterator[object]:
    """Make the client, once there is a node."""
    made: list[Goals] = []

    def make() -> Goals:
        made.append(Goals(robot))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_goal_is_answered_about_the_next_image_and_nobody_else_hears_of_it(robot, talk, scripted, goals) -> None:
    scripted.reply = TWO + " Two mugs."
    t = talk(scripted)
    asked = goals().send("mug")
    asked.wait_stage(Detect.Feedback.WAITING_FOR_IMAGE)
    t.show(5)
    status, result = asked.result()
    assert (status, result.problem) == (SUCCEEDED, "")
    answer = result.answer
    assert (answer.detections.header, len(answer.detections.detections)) == (header(5), 2)
    assert (answer.text, answer.count, answer.truncated, answer.rejects) == ("Two mugs.", -1, False, [])
    fields = json.loads(answer.json)
    assert (fields["prompt"], fields["stamp"]["sec"], fields["timings"]["latency_s"] > 0) == ("mug", 5, True)
    assert (t.detections.messages, t.answers.messages) == ([], [])


def test_objects_are_told_as_they_are_complete(robot, talk, goals) -> None:
    engine = ConcurrentEngine()
    talk(engine)
    asked = goals().send(image=PICTURE)
    call = engine.call(77, camera="")
    call.write(ONE)
    robot.until(lambda: any(len(told.detections.detections) == 1 for told in asked.feedback), "the first object")
    call.write(TWO[len(ONE) :])
    call.end()
    assert asked.result()[0] == SUCCEEDED
    assert {told.stage for told in asked.feedback if told.detections.detections} == {Detect.Feedback.ANSWERING}


@pytest.mark.parametrize("how", ["paused", "on_demand", "beside a prompt"])
def test_it_is_answered_whatever_else_is_asked(robot, talk, scripted, goals, how: str) -> None:
    scripted.reply = TWO
    t = talk(
        scripted, prompt="cup" if how != "paused" else "", frame_policy="on_demand" if how == "on_demand" else "newest"
    )
    if how == "paused":
        assert robot.call(SetBool, "enable", SetBool.Request(data=False)).success
    asked = goals().send(camera="/image", task="detect")
    t.show(5)
    assert asked.result()[0] == SUCCEEDED
    if how == "beside a prompt":
        assert t.answer_to(5)["prompt"] == "cup"


@pytest.mark.parametrize("stage", ["before the image", "while it is answered"])
def test_cancelling_ends_it_and_keeps_what_was_complete(robot, talk, goals, stage: str) -> None:
    engine = ConcurrentEngine()
    talk(engine)
    asked = goals().send() if stage == "before the image" else goals().send(image=PICTURE)
    if stage == "while it is answered":
        call = engine.call(77, camera="")
        call.write(ONE)
    asked.cancel()
    status, result = asked.result()
    assert (status, result.problem) == (CANCELED, "it was cancelled")
    assert len(result.answer.detections.detections) == (stage == "while it is answered")


def test_a_time_limit_ends_it_with_what_was_complete(robot, talk, goals) -> None:
    engine = ConcurrentEngine()
    t = talk(engine)
    client = goals()
    slow = client.send(image=PICTURE, time_limit=Duration(sec=1))
    engine.call(77, camera="").write(ONE)
    status, result = slow.result()
    assert (status, len(result.answer.detections.detections)) == (ABORTED, 1)
    assert "time_limit of 1 s" in result.problem
    assert "no image" not in result.problem
    assert t.diagnostic("errors: goal", "1")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"prompt": " "}, "names nothing to look for"),
        ({"prompt": "watch: what happened?"}, "watch needs the seconds before an image"),
        ({"prompt": "mug", "stamp": Time(sec=9)}, "none is kept"),
        ({"prompt": "mug", "task": "dance"}, "task is 'dance': use one of auto, detect"),
        ({"prompt": "mug", "camera": "/elsewhere"}, "there is no camera /elsewhere; known cameras: /image"),
        ({"prompt": "mug", "image": image_message(np.zeros((2, 300, 3), np.uint8), header(1))}, "300"),
        ({"prompt": "mug", "camera": "/elsewhere", "stamp": Time(sec=9)}, "there is no camera /elsewhere"),
        ({"prompt": "mug", "camera": "no topic"}, "camera has 'no topic', no topic name"),
        ({"prompt": "mug", "time_limit": Duration(sec=-2)}, "time_limit is -2 s: use more than 0"),
        ({"prompt": "mug"}, "no image that can be read for 0.3 s"),
        ({"prompt": "mug", "camera": "image"}, "no image of /image that can be read for 0.3 s"),
    ],
)
def test_a_goal_that_cannot_be_answered_says_why(robot, talk, scripted, goals, fields, problem: str) -> None:
    if "image" in fields:
        fields["image"].step = 3
    t = talk(scripted, no_image_warning_s=0.3)
    status, result = goals().send(**fields).result()
    assert status == ABORTED
    assert problem in result.problem
    t.diagnostic("errors: goal", "1")
    assert scripted.requests == []


def test_deactivating_ends_those_that_run_and_those_that_wait(robot, talk, goals) -> None:
    engine = ConcurrentEngine()
    talk(engine)
    client = goals()
    running, waiting = client.send(image=PICTURE), client.send()
    engine.call(77, camera="").write(ONE)
    off = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert robot.call(ChangeState, "change_state", off).success
    status, result = running.result()
    assert (status, len(result.answer.detections.detections)) == (ABORTED, 1)
    assert "the node was deactivated" in result.problem
    assert waiting.result()[0] == ABORTED
    assert "not active" in waiting.result()[1].problem
    late = robot.call(DetectAt, "detect_at", DetectAt.Request(prompt="mug", stamp=Time(sec=1)))
    assert "not active" in late.message


def test_the_image_of_a_stamp_is_asked_about_by_both(robot, talk, scripted, goals) -> None:
    scripted.reply = TWO
    t = talk(scripted)
    for number in (5, 6, 7):
        t.show(number)
        robot.until(lambda n=number: len(robot.nodes[0]._cameras.recent) == n - 4, "it is kept")
    near = Time(sec=6, nanosec=100_000_000)
    status, result = goals().send(stamp=near).result()
    assert (status, result.answer.detections.header) == (SUCCEEDED, header(6))
    response = robot.call(DetectAt, "detect_at", DetectAt.Request(prompt="mug", camera="image", stamp=near))
    assert (response.success, response.message) == (True, "")
    assert (response.answer.detections.header, len(response.answer.detections.detections)) == (header(6), 2)
    assert t.answers.messages == []


@pytest.mark.parametrize(
    ("stamp", "problem"),
    [
        (Time(), "stamp is 0"),
        (Time(sec=99), "no image is within 0.1 s of stamp 99.000: 1 are kept, of 5.123 to 5.123, the nearest of 5.123"),
    ],
)
def test_a_stamp_of_which_nothing_is_kept_is_told(robot, talk, scripted, stamp: Time, problem: str) -> None:
    t = talk(scripted)
    t.show(5)
    robot.until(lambda: len(robot.nodes[0]._cameras.recent) == 1, "it is kept")
    response = robot.call(DetectAt, "detect_at", DetectAt.Request(prompt="mug", stamp=stamp))
    assert (response.success, problem in response.message) == (False, True), response.message
    t.diagnostic("errors: goal", "1")


def test_places_are_refused_where_there_is_no_depth(robot, talk, scripted, goals) -> None:
    scripted.reply = TWO
    talk(scripted)
    status, result = goals().send(image=PICTURE, in_space=True).result()
    assert (status, len(result.answer.detections.detections)) == (ABORTED, 2)
    assert "depth" in result.problem


def test_an_image_that_the_node_is_yet_to_hear_is_waited_for(robot, talk, scripted, goals) -> None:
    """A program may have heard it before the node."""
    scripted.reply = TWO
    t = talk(scripted, frame_policy="on_demand")
    t.show(5)
    robot.until(lambda: len(robot.nodes[0]._cameras.recent) == 1, "it is kept")
    asked = goals().send(stamp=header(7).stamp)
    waiting = robot.begin_call(DetectAt, "detect_at", DetectAt.Request(prompt="mug", stamp=header(7).stamp))
    asked.wait_stage(Detect.Feedback.WAITING_FOR_IMAGE)
    robot.until(lambda: len(robot.nodes[0]._goals._asked) == 2, "both wait")
    for number in (6, 7):
        t.show(number)
        robot.until(lambda n=number: len(robot.nodes[0]._cameras.recent) == n - 4, "it is kept")
    assert asked.result()[1].answer.detections.header == header(7)
    robot.until(waiting.done, "the request is answered")
    assert (waiting.result().message, waiting.result().answer.detections.header) == ("", header(7))


def test_an_image_that_never_comes_is_told_to_both(robot, talk, scripted, goals) -> None:
    t = talk(scripted, no_image_warning_s=0.5)
    t.show(5)
    robot.until(lambda: len(robot.nodes[0]._cameras.recent) == 1, "it is kept")
    late = header(5, nanosec=400_000_000).stamp
    said = "of stamp 5.400 or later came within 0.5 s"
    assert said in goals().send(stamp=late).result()[1].problem
    assert said in robot.call(DetectAt, "detect_at", DetectAt.Request(prompt="mug", stamp=late)).message


def test_places_are_those_of_the_stamp_and_none_at_all_is_told(robot, talk, scripted, goals) -> None:
    rig = Rig(robot, talk, scripted, frame_policy="on_demand")
    depth, client = rig.talk.node._outputs.of("/image")._depth, goals()
    rig.depth.publish(raw(5, depth_m()))
    rig.info.publish(calibration(5))
    robot.until(lambda: (depth._depths.count, depth._infos.count) == (1, 1), "all is heard")

    def ask(number: int) -> tuple[int, Detect.Result]:
        asked = client.send("red cart", in_space=True)
        asked.wait_stage(Detect.Feedback.WAITING_FOR_IMAGE)
        rig.film(number)
        return asked.result()

    status, result = ask(5)
    (placed,) = result.answer.detections_3d.detections
    at = placed.bbox.center.position
    assert (status, placed.header) == (SUCCEEDED, header(5))
    assert (at.x, at.y, at.z) == pytest.approx(PLACE_M, abs=0.04)
    assert json.loads(result.answer.json)["objects"][0]["position_m"] == pytest.approx(PLACE_M, abs=0.04)
    # Its depth has not come.
    status, result = ask(6)
    assert (status, len(result.answer.detections.detections)) == (ABORTED, 1)
    assert "no object has a place: the closest depth on /depth is 1.000 s" in result.problem


def test_places_of_an_image_of_seconds_ago_are_by_the_depth_of_then(robot, talk, scripted) -> None:
    rig = Rig(robot, talk, scripted, frame_policy="on_demand")
    depth, later = rig.talk.node._outputs.of("/image")._depth, 2 * KEPT_MESSAGES
    rig.info.publish(calibration(5))
    for number in range(5, 5 + later):
        rig.depth.publish(raw(number, depth_m(2.0 if number == 5 else 3.0)))
        robot.until(lambda n=number: depth._depths.count == n - 4, "depth is heard")
    rig.film(5)
    robot.until(lambda: len(robot.nodes[0]._cameras.recent) == 1, "it is kept")
    request = DetectAt.Request(prompt="red cart", stamp=header(5).stamp, in_space=True)
    response = robot.call(DetectAt, "detect_at", request)
    assert response.success, response.message
    (placed,) = response.answer.detections_3d.detections
    at = placed.bbox.center.position
    assert (at.x, at.y, at.z) == pytest.approx(PLACE_M, abs=0.04)


def test_more_than_the_limit_are_refused_and_several_are_answered_together(robot, talk, goals) -> None:
    engine = ConcurrentEngine(max_in_flight=4)
    t = talk(engine)
    client = goals()
    asked = [client.send(f"mug {number}", image=PICTURE) for number in range(MAX_GOALS)]
    robot.until(lambda: len(engine.calls) == 4, "as many as fit are asked at once")
    assert client.offer("one too many", image=PICTURE) is None
    request = DetectAt.Request(prompt="one too many", stamp=Time(sec=1))
    assert "8 goals are on their way" in robot.call(DetectAt, "detect_at", request).message
    t.diagnostic("errors: goals_full", "2")
    for number in range(MAX_GOALS):
        robot.until(lambda n=number: len(engine.calls) > n, "asked")
        engine.calls[number].end()
    assert [each.result()[0] for each in asked] == [SUCCEEDED] * MAX_GOALS


def test_a_camera_that_falls_silent_ends_its_goals_while_another_goes_on(robot, talk, scripted, goals) -> None:
    t = talk(scripted, image_topics=["/image", "/silent"], no_image_warning_s=0.3)
    asked = goals().send(camera="/silent")
    for number in itertools.count(1):
        if asked.is_over:
            break
        t.show(number % 1000)
    status, result = asked.result()
    assert (status, "no image of /silent that can be read for 0.3 s" in result.problem) == (ABORTED, True), result


def test_a_camera_is_named_as_in_image_topics_when_its_images_are_compressed(robot, talk, scripted, goals) -> None:
    scripted.reply = TWO
    talk(scripted, image_transport="compressed", camera_topic="/image/compressed", camera_type=CompressedImage)
    asked = goals().send(camera="image")
    asked.wait_stage(Detect.Feedback.WAITING_FOR_IMAGE)
    asked.cancel()
    assert asked.result()[1].problem == "it was cancelled"


def test_one_that_is_cancelled_before_it_is_read_is_never_asked(robot, talk, scripted, goals) -> None:
    """As when the cancel comes in between the accepting of a goal and its turn on the executor."""
    talk(scripted)
    client, server = goals(), robot.nodes[0]._goals
    accept = server._server._handle_accepted_callback

    def accept_and_cancel(handle) -> None:
        accept(handle)
        assert server._on_cancel(handle) is CancelResponse.ACCEPT
        handle._update_state(GoalEvent.CANCEL_GOAL)

    server._server.register_handle_accepted_callback(accept_and_cancel)
    status, result = client.send(image=PICTURE).result()
    assert (status, result.problem, scripted.requests) == (CANCELED, "it was cancelled", [])


def test_images_of_goals_are_let_go_of_and_so_are_their_results(robot, talk, scripted, goals, monkeypatch) -> None:
    monkeypatch.setattr(goal_server, "_RESULT_KEPT_S", 1)
    talk(scripted)
    client, server = goals(), robot.nodes[0]._goals._server
    handles: list[ServerGoalHandle] = []
    accept = server._handle_accepted_callback
    server.register_handle_accepted_callback(lambda handle: (handles.append(handle), accept(handle)))
    assert client.send(image=PICTURE).result()[0] == SUCCEEDED
    assert len(handles[0].request.image.data) == 0
    robot.until(lambda: not server._goal_handles, "the result is let go of")


def test_closing_the_node_tells_those_who_wait(robot, talk, goals) -> None:
    engine = ConcurrentEngine()
    talk(engine)
    client = goals()
    running, waiting = client.send(image=PICTURE), client.send()
    engine.call(77, camera="").write(ONE)
    (node,) = robot.nodes
    robot.stop_spinning(node)
    assert node.close(PATIENCE_S)
    robot.nodes.remove(node)
    assert (running.result()[0], waiting.result()[0]) == (ABORTED, ABORTED)
    assert "detection was stopped" in running.result()[1].problem


@pytest.mark.parametrize("interfaces", ["none", "older"])
def test_without_its_interfaces_the_node_answers_prompts_and_says_what_is_missing(
    robot, talk, scripted, monkeypatch, interfaces: str
) -> None:
    if interfaces == "older":
        monkeypatch.delattr(vlm_perception_msgs.srv, "WhereIs")
    else:
        for name in ("vlm_perception_msgs", "vlm_perception_msgs.action", "vlm_perception_msgs.msg"):
            monkeypatch.setitem(sys.modules, name, None)
    for name in ("goal_server", "goals", "memory.services"):
        monkeypatch.delitem(sys.modules, f"vlm_perception.ros.{name}", raising=False)
    log = robot.hear_log()
    t = talk(scripted, prompt="cup")
    t.show(5)
    assert t.answer_to(5)["prompt"] == "cup"
    t.diagnostic("errors: no_goals", "1")
    assert "make setup" in log.wait_for(lambda line: "there is no ~/detect" in line.msg).msg
