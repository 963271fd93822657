"""What the node says in its log: enough to see that it works, each fact once, and nothing of what lies below it."""

from __future__ import annotations

import logging
import re
import signal

import pytest
from rclpy.logging import LoggingSeverity
from scripted_engine import PATIENCE_S

from vlm_perception.ros.python_log import forward_python_log
from vlm_perception.startup.arguments import resolve_model
from vlm_perception.startup.processes import ProcessPlan


def said(logs, text):
    return [message for message in logs.messages if text in message.msg]


def test_answers_are_told_each_for_those_who_look_closely_and_else_now_and_then(robot, talk, scripted):
    logs = robot.hear_log()
    t = talk(scripted)
    t.node.get_logger().set_level(LoggingSeverity.DEBUG)
    t.ask("red cup")
    robot.until(lambda: t.show(1) and len(t.answers.messages) >= 3, "three answers")
    line = logs.wait_for(lambda m: m.msg.startswith("answer: ")).msg
    assert re.fullmatch(r"answer: /image, \d+ objects in \d+\.\d{3} s, \d+ refused, stop: 'red cup'", line)
    robot.until(lambda: len(said(logs, "answer: ")) >= 3, "a line for each answer")
    (told,) = said(logs, "answers come: ")
    assert told.level == int(LoggingSeverity.INFO)


def test_a_camera_that_nobody_publishes_is_waited_for_and_one_that_is_heard_is_named_once(robot, scripted):
    robot.camera("/front/image_raw")
    logs = robot.hear_log()
    robot.node(scripted, image_topics=["/front/image_raw", "/rear/image_raw"])
    logs.wait_for(lambda m: m.msg == "waiting for a camera on /rear/image_raw")
    assert len(said(logs, "listening to /front/image_raw: ")) == 1


def test_what_parts_without_ros_say_comes_out_in_the_node_s_log(robot, scripted):
    own = logging.getLogger("vlm_perception")
    before = own.handlers, own.level, own.propagate
    logs = robot.hear_log()
    node = robot.node(scripted)
    node.get_logger().set_level(LoggingSeverity.DEBUG)
    try:
        forward_python_log(node.get_logger())
        forward_python_log(node.get_logger())
        for level in (logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger("vlm_perception.engines").log(level, "a line at %d", level)
        logs.wait_for(lambda m: m.msg == "a line at 40")
        assert [message.level for message in said(logs, "a line at")] == [10, 30, 40]
    finally:
        own.handlers, own.level, own.propagate = before


@pytest.mark.parametrize("namespace", ["", "robot1"])
def test_debug_is_of_the_node_alone_and_no_progress_bar_is_in_its_log(robot, namespace):
    plan = ProcessPlan(
        "vlm_perception_node",
        name="vlm_perception",
        namespace=namespace,
        parameters={"model": resolve_model("tiny")},
        log_level="debug",
    )
    logs = robot.hear_log()
    process = robot.start(*plan.command()[1:])
    logs.wait_for(lambda m: m.msg.startswith("activate: "))
    process.send_signal(signal.SIGINT)
    _, lines = process.communicate(timeout=PATIENCE_S)
    name = f"{namespace}.vlm_perception".strip(".")
    odd = [line for line in lines.splitlines() if not re.match(rf"\[(DEBUG|INFO)\] \[[\d.]+\] \[{name}\]: ", line)]
    assert not odd
    assert "[DEBUG]" in lines
