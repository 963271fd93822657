"""The real node's own callbacks under anything that comes from outside: none raises, and it goes on answering."""

from __future__ import annotations

import time

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from fuzz_images import COMPRESSED, IMAGES, FuzzCompressed, FuzzImage
from fuzz_messages import message_of
from fuzz_profile import fuzz
from fuzz_prompts import HUGE, SENDABLE
from hypothesis import given
from hypothesis import strategies as st
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import serialize_message
from robot import header
from vlm_perception_msgs.action import Detect

from vlm_perception.errors import VlmPerceptionError
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.ros.node import VlmPerceptionNode
from vlm_perception.ros.outputs.result_messages import sendable

PATIENCE_S = 60.0
GOOD = image_message(np.zeros((28, 42, 3), np.uint8), header(1, frame_id="the last frame"))


@pytest.fixture
def node(robot, scripted):
    """An active node that nobody spins: its callbacks are called from here, one at a time, as an executor would."""
    made = VlmPerceptionNode(scripted, context=robot.context)
    robot.nodes.append(made)
    executor = SingleThreadedExecutor(context=robot.context)
    executor.add_node(made)
    while made.state is not State.ACTIVE:
        executor.spin_once(timeout_sec=PATIENCE_S)
    executor.remove_node(made)
    executor.shutdown()
    return made


@pytest.fixture
def goes_on(node, scripted):
    """Check that the next good frame is asked about."""

    def check():
        node._prompts.hear("the last cup")
        asked = len(scripted.requests)
        node._cameras.hear(GOOD, "/image", time.monotonic())
        scripted.wait_asked(asked + 1)
        assert scripted.requests[-1].prompt.text == "the last cup"
        # What a callback or the worker did not expect is caught, and counted here.
        assert "internal_error" not in node._shared.counters.total.report().drops

    return check


def test_no_image_raises_and_each_is_counted(node, goes_on):
    node._prompts.hear("red cup")

    @fuzz
    @given(IMAGES | COMPRESSED)
    def show(image: FuzzImage | FuzzCompressed) -> None:
        frames = node._shared.counters.total.report().frames
        node._cameras.hear(message_of(image), "/image", time.monotonic())
        assert node._shared.counters.total.report().frames == frames + 1

    show()
    goes_on()


def test_no_prompt_raises(node, goes_on):
    @fuzz
    @given(SENDABLE | HUGE)
    def ask(text: str) -> None:
        node._prompts.hear(text)

    ask()
    goes_on()


@pytest.mark.parametrize("reply", ["[]", '[{"bbox_2d": [1, 2, 20, 20], "label": "mug"}] one'])
def test_every_goal_is_answered_once_or_refused_in_words(node, goes_on, scripted, reply: str):
    goals, scripted.reply = node._goals._goals, reply

    @fuzz
    @given(
        SENDABLE | HUGE | st.just("mug"),
        st.text(max_size=10) | st.sampled_from(["", "auto", "ground", "count", "watch"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["", "image", "/image", "/b"]),
        st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1)) | st.just(Time()),
        IMAGES,
        st.booleans(),
    )
    def ask(prompt: str, task: str, camera: str, stamp: Time, image: FuzzImage, in_space: bool) -> None:
        try:
            goal = goals.read(prompt, task, camera, stamp, message_of(image))
            answered = goals.ask(goal, in_space)
            if goal.frame is None:
                node._cameras.hear(GOOD, "/image", time.monotonic())
            answer = goals.message(answered.result(PATIENCE_S))
        except VlmPerceptionError as error:
            said = Detect.Result(problem=sendable(str(error)))
            assert said.problem
        else:
            said = Detect.Result(answer=answer, problem=goals.problem(goal, answered.result(), in_space))
        serialize_message(said)

    ask()
    goes_on()
