"""Every judgement about a graph, from facts as they are gathered; test/ros/test_doctor.py gathers real ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlm_perception.apps.doctor.findings import Severity
from vlm_perception.apps.doctor.graph import GraphFacts, NodeStatus, judge_graph
from vlm_perception.ros.diagnostics.rules import RULES

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
NODE = "/robot/vlm_perception"
VALUES = {
    "prompt": "red cup",
    "answers": "7",
    "latency p50 (ms)": "410.0",
    "images received": "9",
    "image rate (Hz)": "10.00",
}
WELL = GraphFacts(
    node=NODE,
    same_name=1,
    other_nodes=("/driver",),
    lifecycle="active",
    status=NodeStatus(0, "detecting", VALUES),
    cameras={"/camera/image": IMAGE},
    image_topics={"/camera/image": {IMAGE}, "/other/image": {IMAGE}},
    listened_s=2.0,
)


def status(level: int = 0, message: str = "detecting", **values: str) -> GraphFacts:
    return replace(WELL, status=NodeStatus(level, message, {**VALUES, **values}))


STARTED = status(answers="0", **{"dropped: stale": "9"})


def test_a_healthy_graph_has_nothing_but_good_news() -> None:
    found = judge_graph(WELL)
    assert {finding.level for finding in found} == {Severity.OK}
    assert [f.title for f in found] == ["Node", "Lifecycle", "Diagnostics", "Camera", "Prompt", "Answers"]
    assert found[-1].detail == "7 so far, one takes 410.0 ms; 10.00 images a second"


@pytest.mark.parametrize(
    ("facts", "level", "title", "said"),
    [
        (replace(WELL, same_name=2), Severity.ERROR, "Several nodes have the same name", "2 nodes"),
        (replace(WELL, lifecycle=""), Severity.ERROR, "The node does not answer", "get_state"),
        (replace(WELL, lifecycle="unconfigured"), Severity.WARN, "The node is not active", f"set {NODE} configure"),
        (replace(WELL, lifecycle="inactive"), Severity.WARN, "The node is not active", f"set {NODE} activate"),
        (replace(WELL, status=None), Severity.WARN, "No diagnostics of the node", "2.0 s"),
        (status(1, "x", symptoms="no image: no image on /x"), Severity.WARN, "The node says: no image", "on /x"),
        (status(2, "x", symptoms="model hangs: for 9 s"), Severity.ERROR, "The node says: model hangs", "for 9 s"),
        (status(1, "from a newer version"), Severity.WARN, "The node is not well", "from a newer version"),
        (status(3, "stale"), Severity.ERROR, "The node is not well", "stale"),
        (replace(WELL, cameras={}), Severity.ERROR, "The node listens to no camera", "image_topic"),
        (
            replace(WELL, image_topics={"/other": {IMAGE}}),
            Severity.ERROR,
            "No camera",
            "image topics there are: /other",
        ),
        (
            replace(WELL, image_topics={"/camera/image": {COMPRESSED}}),
            Severity.ERROR,
            "The camera sends another type",
            "image_transport",
        ),
        (status(prompt=""), Severity.WARN, "No prompt", f"ros2 topic pub --once {NODE}/prompt"),
        (STARTED, Severity.WARN, "No answer yet", "dropped: stale 9"),
    ],
)
def test_each_fault_is_one_finding_that_says_what_to_do(
    facts: GraphFacts, level: Severity, title: str, said: str
) -> None:
    (found,) = (finding for finding in judge_graph(facts) if finding.level is not Severity.OK)
    assert (found.level, found.title) == (level, title)
    assert said in f"{found.detail} {found.remedy}"
    assert found.remedy


def test_every_symptom_of_the_node_is_a_finding_whatever_its_text_holds() -> None:
    symptoms = "; ".join(f"{rule.name}: said; twice: {number}" for number, rule in enumerate(RULES))
    found = [f for f in judge_graph(status(2, "x", symptoms=symptoms)) if f.title.startswith("The node says")]
    assert [(f.title, f.level.name) for f in found] == [(f"The node says: {r.name}", r.level.name) for r in RULES]
    assert [f.detail for f in found] == [f"said; twice: {number}" for number in range(len(RULES))]


def test_without_the_node_nothing_else_is_judged() -> None:
    (found,) = judge_graph(GraphFacts(NODE, 0, ("/driver",)))
    assert (found.level, found.title) == (Severity.WARN, "The node does not run")
    assert "/driver" in found.detail
    assert "ROS_DOMAIN_ID" in found.remedy


def test_a_node_that_is_not_managed_has_no_lifecycle_finding() -> None:
    assert "Lifecycle" not in {finding.title for finding in judge_graph(replace(WELL, lifecycle=None))}


def test_answers_are_not_expected_without_images() -> None:
    assert judge_graph(status(answers="0", **{"images received": "0"}))[-1].title == "Prompt"


def test_each_camera_is_judged() -> None:
    two = replace(WELL, cameras={"/camera/image": IMAGE, "/rear": IMAGE})
    assert [(f.title, f.level) for f in judge_graph(two) if "amera" in f.title] == [
        ("Camera", Severity.OK),
        ("No camera", Severity.ERROR),
    ]
