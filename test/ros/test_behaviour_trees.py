"""The step of docs/behaviour_trees.md in real trees, over DDS."""

from __future__ import annotations

import itertools
import re
import subprocess
from typing import Any

import numpy as np
import py_trees
import pytest
from checkout import ROOT
from goals import CANCELED
from py_trees.common import Status
from vlm_perception_msgs.action import Detect

from vlm_perception.scenes import random_scene, render
from vlm_perception.startup.arguments import resolve_model

PAGE = (ROOT / "docs" / "behaviour_trees.md").read_text(encoding="utf-8")
(SOURCE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FOUND = '[{"bbox_2d": [1, 2, 20, 20], "label": "cup"}]'


class Guard(py_trees.behaviour.Behaviour):
    """Something more urgent, once it `fires`."""

    fires = False

    def update(self) -> Status:
        return Status.SUCCESS if self.fires else Status.FAILURE


class Ticked:
    """A tree that is ticked on the client's executor, as in the example: the guard, else finding."""

    def __init__(self, robot: Any, prompt: str = "cup", action: str = "/vlm_perception/detect", **fields: Any) -> None:
        names: dict[str, Any] = {"__name__": "find"}
        exec(SOURCE, names)
        self.guard, self.find = Guard("guard"), names["Find"]("find", prompt, action, **fields)
        root = py_trees.composites.Selector("root", memory=False, children=[self.guard, self.find])
        self.statuses: list[Status] = []
        self._robot, self._tree = robot, py_trees.trees.BehaviourTree(root)
        self._tree.add_post_tick_handler(lambda tree: self.statuses.append(tree.root.status))
        self._tree.setup(node=robot.client)
        self.timer = robot.client.create_timer(0.02, self._tree.tick)

    def until(self, *ends: Status) -> None:
        self._robot.until(lambda: self.statuses and self.statuses[-1] in ends, f"the tree is {ends}")

    def close(self) -> None:
        self._robot.as_client(self.timer.cancel)
        self._robot.as_client(self.find.client.destroy)


@pytest.fixture
def ticked(robot):
    made = []

    def make(**options):
        made.append(Ticked(robot, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_example_finds_a_thing_with_the_tiny_model_and_not_one_that_is_absent(robot, talk) -> None:
    robot.node(model=resolve_model("tiny"))
    t, numbers = talk(), itertools.count(1)
    rgb = render(random_scene(np.random.default_rng(5), (320, 240)), (320, 240)).rgb
    for prompt, said in (("yellow face", "found yellow face\n"), ("blue cart", "found nothing\n")):
        process = robot.start("-c", SOURCE, prompt, stdout=subprocess.PIPE)
        robot.until(lambda p=process: t.show(next(numbers), rgb) and p.poll() is not None, "the end of the example")
        assert process.stdout.read().replace("waiting for the node\n", "") == said


def test_a_tick_never_waits_and_the_answer_is_on_the_blackboard(robot, talk, scripted, ticked) -> None:
    scripted.reply = FOUND
    scripted.thinking.set()
    t, tree = talk(scripted), ticked(task="detect")
    robot.until(lambda: t.show(5) and scripted.requests, "it is asked")
    before = len(tree.statuses)
    robot.until(lambda: len(tree.statuses) > before + 3, "it is ticked while the model thinks")
    assert set(tree.statuses[before:]) == {Status.RUNNING}
    scripted.thinking.clear()
    tree.until(Status.SUCCESS)
    answer = py_trees.blackboard.Blackboard.get("answer")
    assert (answer.detections.header.stamp.sec, len(answer.detections.detections)) == (5, 1)
    assert scripted.requests[0].prompt.text == "cup"


def test_something_more_urgent_cancels_the_goal(robot, talk, scripted, ticked) -> None:
    scripted.thinking.set()
    t, tree = talk(scripted), ticked()
    robot.until(lambda: t.show(5) and scripted.requests, "it is asked")
    tree.guard.fires = True
    tree.until(Status.SUCCESS)
    robot.until(lambda: scripted.aborted == 1, "the model stops")
    assert tree.find.status == Status.INVALID


def test_a_goal_that_is_left_before_it_is_accepted_is_cancelled_too(robot, talk, scripted, ticked) -> None:
    scripted.thinking.set()
    t, tree = talk(scripted), ticked()
    robot.until(tree.find.client.server_is_ready, "the node is there")

    def enter_and_leave() -> None:
        tree.find.stop(Status.INVALID)
        tree.find.tick_once()
        assert (tree.find.status, tree.find._sent.done()) == (Status.RUNNING, False)
        tree.find.stop(Status.INVALID)

    robot.as_client(tree.timer.cancel)
    robot.as_client(enter_and_leave)
    sent = tree.find._sent
    robot.until(lambda: t.show(7) and sent.done() and sent.result().status == CANCELED, "it is cancelled")


@pytest.mark.parametrize(
    ("options", "why"),
    [({"action": "/nobody"}, "nobody answers on /nobody"), ({"task": "nonsense"}, "task is 'nonsense'")],
)
def test_what_fails_says_why(robot, talk, scripted, ticked, options, why) -> None:
    t, tree = talk(scripted), ticked(**options)
    robot.until(lambda: t.show(5) and why in tree.find.feedback_message, why)
    assert Status.FAILURE in tree.statuses


def test_the_goal_s_fields_go_in_by_name() -> None:
    names: dict[str, Any] = {"__name__": "find"}
    exec(SOURCE, names)
    assert names["Find"]("find", "cup", in_space=True)._goal == Detect.Goal(prompt="cup", in_space=True)
