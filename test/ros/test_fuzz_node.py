"""The real node's own callbacks under anything that comes from outside: none raises, and it goes on answering."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fuzz_images import COMPRESSED, IMAGES, FuzzCompressed, FuzzImage
from fuzz_messages import message_of
from fuzz_profile import fuzz
from fuzz_prompts import HUGE, SENDABLE
from hypothesis import given
from rclpy.executors import SingleThreadedExecutor
from robot import header

from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.lifecycle.states import State
from vlm_perception.ros.node import VlmPerceptionNode

PATIENCE_S = 60.0


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
        good = image_message(np.zeros((28, 42, 3), np.uint8), header(1, frame_id="the last frame"))
        node._cameras.hear(good, "/image", time.monotonic())
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
