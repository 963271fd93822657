"""The doctor looks at a real node over real DDS."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import rclpy
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from vlm_perception.apps.doctor import ros_probe
from vlm_perception.apps.doctor.findings import Finding, Severity
from vlm_perception.apps.doctor.graph import GraphFacts, judge_graph
from vlm_perception.apps.doctor.ros_probe import GraphObserver
from vlm_perception.ros.image_messages import image_message
from vlm_perception.ros.lifecycle.states import State

NODE = "/vlm_perception"
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def look(domain_id: int) -> Iterator[Callable[[], GraphFacts]]:
    """Look at the graph as a process of its own would."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)

    def gather() -> GraphFacts:
        observer = GraphObserver(NODE, context)
        try:
            return observer.gather()
        finally:
            observer.close()

    yield gather
    context.shutdown()


@contextmanager
def filming(publisher, header_of) -> Iterator[None]:
    """Publish frames until left."""
    stop, number = threading.Event(), iter(range(1, 10**6))

    def film() -> None:
        while not stop.wait(0.05):
            publisher.publish(image_message(np.zeros((28, 42, 3), np.uint8), header_of(next(number))))

    thread = threading.Thread(target=film)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def faults(facts: GraphFacts) -> dict[str, Finding]:
    return {finding.title: finding for finding in judge_graph(facts) if finding.level is not Severity.OK}


def test_a_node_that_answers_is_well(robot, talk, scripted, look, header_of) -> None:
    robot.node(scripted, prompt="red cup")
    conversation = talk()
    with filming(conversation.camera, header_of):
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
    robot.client.create_publisher(Image, "/image", BEST_EFFORT)
    robot.node(scripted, **{"qos_overrides./image.subscription.reliability": "reliable"})
    found = faults(look())["The node says: camera QoS"]
    assert found.level is Severity.WARN
    assert "/client offers reliability best_effort, /vlm_perception asks for reliability reliable" in found.detail
    assert "remove qos_overrides./image.subscription.reliability" in found.detail


def test_a_camera_of_the_other_type_is_named(robot, scripted, look) -> None:
    robot.client.create_publisher(CompressedImage, "/image", 1)
    robot.node(scripted)
    assert "sensor_msgs/msg/CompressedImage" in faults(look())["The camera sends another type"].detail


def test_a_silent_camera_is_named(robot, scripted, look) -> None:
    robot.client.create_publisher(Image, "/image", 1)
    robot.node(scripted, no_image_warning_s=0.2)
    assert faults(look())["The node says: no image"].detail == "no image on /image"


# The second one answers a client that has got its answer and gone.
@pytest.mark.filterwarnings("ignore:failed to send response:RuntimeWarning")
def test_two_nodes_of_one_name_are_an_error(robot, scripted, look) -> None:
    robot.node(scripted)
    robot.node(scripted)
    assert faults(look())["Several nodes have the same name"].level is Severity.ERROR


@pytest.mark.parametrize("state", [State.UNCONFIGURED, State.INACTIVE, State.ACTIVE])
def test_the_state_of_the_node_is_read(robot, scripted, look, state: State) -> None:
    node = robot.node(scripted, reaches=None, autostart=False, diagnostics_period_s=0.1)
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
    monkeypatch.setattr(ros_probe, "PATIENCE_S", 4.0)
    managed = LifecycleNode("vlm_perception", context=robot.context)
    facts = look()  # nobody spins it, so nobody answers
    managed.destroy_node()
    assert faults(facts)["The node does not answer"].level is Severity.ERROR


def test_a_graph_without_the_node_names_who_is_there(robot, look) -> None:
    found = faults(look())
    assert list(found) == ["The node does not run"]
    assert "/client" in found["The node does not run"].detail
    assert "doctor" not in found["The node does not run"].detail


def test_the_command_sees_the_graph_and_leaves_the_model_of_a_running_node_alone(robot, scripted) -> None:
    robot.node(scripted)
    command = [sys.executable, "-m", "vlm_perception.startup.commands", "vlm-perception-doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 2, done.stderr
    assert {finding["section"] for finding in told["findings"]} == {"Installation", "ROS", "Running graph"}
    assert "No camera" in {finding["title"] for finding in told["findings"] if finding["level"] == "ERROR"}
