"""The doctor looks at a real node over real DDS."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import qos_profile_sensor_data
from robot import header, values_of
from sensor_msgs.msg import CompressedImage, Image

from vlm_perception.apps.doctor import command, ros_probe
from vlm_perception.apps.doctor.findings import Finding, Severity, ok
from vlm_perception.apps.doctor.graph import GraphFacts, judge_graph
from vlm_perception.apps.doctor.ros_probe import GraphObserver
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.lifecycle.states import State

NODE = "/vlm_perception"


@pytest.fixture
def look(robot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], GraphFacts]]:
    """Look at the graph as a process of its own would, not quite so long."""
    monkeypatch.setattr(ros_probe, "LISTEN_S", 0.5)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=robot.domain_id)

    def gather() -> GraphFacts:
        observer = GraphObserver(NODE, context)
        try:
            return observer.gather()
        finally:
            observer.close()

    yield gather
    context.shutdown()


@contextmanager
def filming(publisher) -> Iterator[None]:
    """Publish frames until left."""
    stop, number = threading.Event(), iter(range(1, 10**6))

    def film() -> None:
        while not stop.wait(0.05):
            publisher.publish(image_message(np.zeros((28, 42, 3), np.uint8), header(next(number))))

    thread = threading.Thread(target=film)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def faults(facts: GraphFacts) -> dict[str, Finding]:
    return {finding.title: finding for finding in judge_graph(facts) if finding.level is not Severity.OK}


def fault(look: Callable[[], GraphFacts], title: str) -> Finding:
    """Look until a fault is found: a busy machine may not discover everything in one short look."""
    for _ in range(10):
        found = faults(look())
        if title in found:
            break
    return found[title]


def test_a_node_that_answers_is_well(talk, scripted, look, monkeypatch) -> None:
    monkeypatch.setattr(ros_probe, "LISTEN_S", 2.0)
    conversation = talk(scripted, prompt="red cup")
    with filming(conversation.camera):
        conversation.answers.wait_for()
        conversation.diagnostic("message", "detecting")
        facts = look()
    assert facts.status is not None
    assert facts.status.values["prompt"] == "red cup"
    assert facts.cameras == {"/image": "sensor_msgs/msg/Image"}
    assert facts.image_topics == {"/image": {"sensor_msgs/msg/Image"}}
    assert faults(facts) == {}
    assert judge_graph(facts)[-1].title == "Answers"


def test_without_camera_and_prompt_both_are_named(robot, scripted, look) -> None:
    robot.client.create_publisher(Image, "/rear/image_raw", 1)
    robot.node(scripted)
    found = faults(look())
    assert "nobody publishes /image" in found["No camera"].detail
    assert "/rear/image_raw" in found["No camera"].detail
    assert f"{NODE}/annotated_image" not in found["No camera"].detail
    assert "No prompt" in found
    assert "No answer yet" not in found


def test_a_mismatch_of_qos_names_both_sides(robot, scripted, look) -> None:
    robot.client.create_publisher(Image, "/image", qos_profile_sensor_data)
    robot.node(scripted, **{"qos_overrides./image.subscription.reliability": "reliable"})
    robot.hear("/diagnostics", DiagnosticArray).wait_for(lambda m: "QoS mismatch: /image" in values_of(m))
    found = fault(look, "The node says: camera QoS")
    assert found.level is Severity.WARN
    assert "/client offers reliability best_effort, /vlm_perception asks for reliability reliable" in found.detail
    assert "remove qos_overrides./image.subscription.reliability" in found.detail


def test_a_camera_of_the_other_type_is_named(robot, scripted, look) -> None:
    robot.client.create_publisher(CompressedImage, "/image", 1)
    robot.node(scripted)
    assert "sensor_msgs/msg/CompressedImage" in fault(look, "The camera sends another type").detail


def test_a_silent_camera_is_named(robot, scripted, look) -> None:
    robot.client.create_publisher(Image, "/image", 1)
    robot.node(scripted, no_image_warning_s=0.2)
    robot.hear("/diagnostics", DiagnosticArray).wait_for(lambda m: values_of(m)["message"] == "no image on /image")
    assert fault(look, "The node says: no image").detail == "no image on /image"


# The second one answers a client that has got its answer and gone.
@pytest.mark.filterwarnings("ignore:failed to send response:RuntimeWarning")
def test_two_nodes_of_one_name_are_an_error(robot, scripted, look) -> None:
    robot.node(scripted)
    robot.node(scripted)
    assert fault(look, "Several nodes have the same name").level is Severity.ERROR


@pytest.mark.parametrize("state", [State.UNCONFIGURED, State.INACTIVE, State.ACTIVE])
def test_the_state_of_the_node_is_read(robot, scripted, look, state: State) -> None:
    node = robot.node(scripted, reaches=None, autostart=False)
    for step, end in (("configure", State.INACTIVE), ("activate", State.ACTIVE)):
        if node.state < state:
            node._shared.executor.call(lambda label=step: node._lifecycle.change(label=label))
            robot.until(lambda wanted=end: node.state is wanted, step)
    facts = look()
    assert facts.lifecycle == state.label
    found = faults(facts)
    assert ("The node is not active" in found) == (state is not State.ACTIVE)
    assert ("No camera" in found) == (state is State.ACTIVE)


def test_a_managed_node_that_hangs_is_an_error(robot, look, monkeypatch) -> None:
    monkeypatch.setattr(ros_probe, "PATIENCE_S", 1.0)
    managed = LifecycleNode("vlm_perception", context=robot.context)
    facts = look()  # nobody spins it, so nobody answers
    managed.destroy_node()
    assert faults(facts)["The node does not answer"].level is Severity.ERROR


def test_a_graph_without_the_node_names_who_is_there(robot, look, monkeypatch) -> None:
    monkeypatch.setattr(ros_probe, "DISCOVERY_S", 3.0)
    found = faults(look())
    assert list(found) == ["The node does not run"]
    assert "/client" in found["The node does not run"].detail
    assert "doctor" not in found["The node does not run"].detail


def test_the_command_sees_the_graph_and_leaves_the_model_of_a_running_node_alone(
    robot, scripted, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(command, "check_installation", lambda: [ok("Python", "as it is")])
    robot.node(scripted)
    assert command.main(["--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert {finding["section"] for finding in told["findings"]} == {"Installation", "ROS", "Running graph"}
    assert "No camera" in {finding["title"] for finding in told["findings"] if finding["level"] == "ERROR"}
