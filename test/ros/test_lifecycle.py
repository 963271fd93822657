"""A managed node as a lifecycle manager meets it, over DDS."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import rclpy
from checkout import TINY
from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.srv import GetParameters
from rclpy.lifecycle import LifecycleNode
from scripted_engine import PATIENCE_S
from std_srvs.srv import SetBool, Trigger

from vlm_perception.errors import ModelLoadError
from vlm_perception.ros.executor import OnExecutor
from vlm_perception.ros.lifecycle.states import State

NODES = ("/vlm_perception", "/model")
BOX = '[{"bbox_2d": [1, 2, 20, 20], "label": "cup"}]'
UNSET = {"autostart": False}


def change(robot: Any, number: int) -> bool:
    return robot.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(id=number))).success


def state(robot: Any) -> str:
    return robot.call(GetState, "get_state").current_state.label


def ways(answer: Any) -> set[tuple[Any, ...]]:
    parts = [(w.transition, w.start_state, w.goal_state) for w in answer.available_transitions]
    return {tuple((part.id, part.label) for part in way) for way in parts}


def test_states_transitions_services_and_events_are_those_of_rclpys_own_managed_node(robot, scripted) -> None:
    node = robot.node(scripted, reaches=State.UNCONFIGURED, **UNSET)
    model = LifecycleNode("model", context=robot.client.context)
    robot.spin(model)
    for name in ("get_transition_graph", "get_available_transitions"):
        ours, theirs = (robot.call(GetAvailableTransitions, f"{n}/{name}") for n in NODES)
        assert ways(ours) == ways(theirs)
    both = [robot.call(GetAvailableStates, f"{n}/get_available_states") for n in NODES]
    own, other = ({(s.id, s.label) for s in answer.available_states} for answer in both)
    assert own == other
    for offered, wanted in zip(*(_interface(n) for n in (node, model)), strict=True):
        assert wanted <= offered
    (mine,) = robot.client.get_publishers_info_by_topic("/vlm_perception/transition_event")
    (its,) = robot.client.get_publishers_info_by_topic("/model/transition_event")
    assert (mine.topic_type, mine.qos_profile.reliability, mine.qos_profile.durability) == (
        its.topic_type,
        its.qos_profile.reliability,
        its.qos_profile.durability,
    )
    model.destroy_node()


def _interface(node: Any) -> tuple[set[Any], set[Any]]:
    own = f"{node.get_fully_qualified_name()}/"
    name, namespace = node.get_name(), node.get_namespace()
    services = node.get_service_names_and_types_by_node(name, namespace)
    topics = node.get_publisher_names_and_types_by_node(name, namespace)
    return tuple({(n.removeprefix(own), *kinds) for n, kinds in found} for found in (services, topics))  # type: ignore


def test_everything_answers_while_the_model_loads(robot, talk, scripted) -> None:
    go_on = threading.Event()
    scripted.load = lambda: go_on.wait(PATIENCE_S) or None
    scripted.describe = lambda: {"loading": "weights: 3 of 128"}
    t = talk(scripted, reaches=None, **UNSET)
    events = robot.hear("/vlm_perception/transition_event", TransitionEvent)
    configuring = robot.begin_call(
        ChangeState, "change_state", ChangeState.Request(transition=Transition(label="configure"))
    )
    assert t.diagnostic("message", "loading the model: weights: 3 of 128")["lifecycle state"] == "configuring"
    t.logs.wait_for(lambda m: "loading: weights: 3 of 128" in m.msg)
    assert state(robot) == "configuring"
    assert not change(robot, Transition.TRANSITION_CONFIGURE), "it is on its way already"
    assert robot.call(GetParameters, "get_parameters", GetParameters.Request(names=["task"])).values
    assert robot.call(SetBool, "enable", SetBool.Request(data=True)).success
    refused = robot.call(Trigger, "detect_once")
    assert (refused.success, "not active" in refused.message) == (False, True)
    t.ask("red cup")
    assert not configuring.done()
    go_on.set()
    robot.until(configuring.done, "configured")
    assert configuring.result().success
    assert state(robot) == "inactive"
    robot.until(lambda: len(events.messages) == 2, "events")
    assert [e.goal_state.label for e in events.messages] == ["configuring", "inactive"]


def test_a_model_that_cannot_be_loaded_can_be_tried_again(robot, talk, scripted) -> None:
    failures = [ModelLoadError("no checkpoint in /nowhere; give an existing folder")]

    def load() -> None:
        if failures:
            raise failures.pop()

    scripted.load = load
    t = talk(scripted, reaches=None, **UNSET)
    assert not change(robot, Transition.TRANSITION_CONFIGURE)
    assert state(robot) == "unconfigured"
    t.later(lambda values: values["engine state"] == "failed" and "/nowhere" in values["message"])
    assert robot.client.count_publishers("/vlm_perception/detections") == 0
    t.logs.wait_for(lambda m: "configure can be tried again" in m.msg and "/nowhere" in m.msg)
    t.ask("red cup")
    t.logs.wait_for(lambda m: "cannot be answered" in m.msg and "/nowhere" in m.msg)
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    scripted.reply = BOX
    t.ask("cup")
    t.show_until(t.detections)
    assert "/nowhere" not in t.diagnostic("lifecycle state", "active")["message"]


def test_deactivating_aborts_hears_no_camera_and_keeps_the_model(robot, talk, scripted) -> None:
    loads: list[int] = []
    scripted.load = lambda: loads.append(1)
    t = talk(scripted, prompt="cup")
    scripted.thinking.set()
    robot.until(lambda: bool(t.show(1)) and bool(scripted.requests), "a frame is asked about")
    assert change(robot, Transition.TRANSITION_DEACTIVATE)
    robot.until(lambda: scripted.aborted == 1, "abort")
    robot.until(lambda: t.camera.get_subscription_count() == 0, "the camera is left alone")
    assert t.answers.messages == []
    scripted.thinking.clear()
    refused = robot.call(Trigger, "detect_once")
    assert (refused.success, "not active" in refused.message) == (False, True)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    robot.until(lambda: t.camera.get_subscription_count() == 1, "the camera is heard again")
    t.show_until(t.answers, first=10)
    assert loads == [1]


def test_cleaning_up_closes_the_model_and_a_node_can_be_configured_again(robot, talk, scripted) -> None:
    closed: list[int] = []
    scripted.close = lambda: closed.append(1)
    t = talk(scripted, prompt="cup")
    assert not change(robot, Transition.TRANSITION_CLEANUP), "it is active"
    assert change(robot, Transition.TRANSITION_DEACTIVATE)
    assert change(robot, Transition.TRANSITION_CLEANUP)
    assert (state(robot), closed) == ("unconfigured", [1])
    robot.until(lambda: robot.client.count_publishers("/vlm_perception/detections") == 0, "no results are offered")
    t.logs.wait_for(lambda m: "the model is freed" in m.msg)
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    t.show_until(t.detections)


@pytest.mark.parametrize("reaches", [State.UNCONFIGURED, State.ACTIVE])
def test_a_node_that_was_shut_down_answers_nothing_more_but_what_it_is(robot, talk, scripted, reaches) -> None:
    t = talk(scripted, reaches=reaches, autostart=reaches is State.ACTIVE, prompt="cup")
    assert change(robot, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN), "any of its numbers will do"
    assert state(robot) == "finalized"
    robot.until(lambda: t.camera.get_subscription_count() == 0, "no camera is heard")
    for number in range(1, 5):
        assert not change(robot, number)
    assert t.diagnostic("lifecycle state", "finalized")["message"] == "the node is finalized"


def test_a_change_that_breaks_ends_unconfigured_and_says_why(robot, talk, scripted, monkeypatch) -> None:
    t = talk(scripted, reaches=None, prompt="cup", **UNSET)
    node = t.node
    events = robot.hear("/vlm_perception/transition_event", TransitionEvent)

    def fail(*_: object) -> None:
        raise RuntimeError("the middleware is gone")

    assert change(robot, Transition.TRANSITION_CONFIGURE)
    with monkeypatch.context() as broken:
        broken.setattr(node._cameras, "use", fail)
        assert not change(robot, Transition.TRANSITION_ACTIVATE)
        assert state(robot) == "finalized", "cleaning up failed, too"
    t.diagnostic("lifecycle state", "finalized")
    t.logs.wait_for(lambda m: "activate broke: RuntimeError: the middleware is gone" in m.msg)
    robot.until(lambda: len(events.messages) == 5, "events")
    assert [e.goal_state.label for e in events.messages][2:] == ["activating", "errorprocessing", "finalized"]


def test_a_change_that_breaks_once_is_cleaned_up_and_tried_again(robot, talk, scripted, monkeypatch) -> None:
    t = talk(scripted, reaches=None, prompt="cup", **UNSET)
    node = t.node
    real = node._outputs.use
    failures = [RuntimeError("no more handles")]

    def use(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        real(*arguments)

    monkeypatch.setattr(node._outputs, "use", use)
    assert not change(robot, Transition.TRANSITION_CONFIGURE)
    assert state(robot) == "unconfigured"
    t.diagnostic("message", "configure broke: RuntimeError: no more handles")
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    t.show_until(t.detections)


def test_another_model_can_be_named_while_the_node_is_unconfigured(robot, talk) -> None:
    """The real engine: a slip in the model's name is mended without a new process."""
    robot.node(None, reaches=None, model="/nowhere", prompt="all objects")
    t = talk()
    t.logs.wait_for(lambda m: "configure can be tried again" in m.msg and "/nowhere" in m.msg)
    robot.until(lambda: state(robot) == "unconfigured", "back at the start")
    assert robot.set_parameters(model=str(TINY)).successful
    assert change(robot, Transition.TRANSITION_CONFIGURE)
    refused = robot.set_parameters(model="/elsewhere")
    assert (refused.successful, "only while the node is unconfigured" in refused.reason) == (False, True)
    assert change(robot, Transition.TRANSITION_ACTIVATE)
    t.show_until(t.answers)
    assert not robot.set_parameters(autostart=False).successful, "it is read at the start only"


def test_a_worker_that_outlives_its_node_is_not_heard_and_does_not_fail(robot):
    node = rclpy.create_node("eyes", context=robot.context)
    executor, called = OnExecutor(node), []
    node.destroy_node()
    executor.call(lambda: called.append(1))
    assert called == []
