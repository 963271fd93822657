"""Every judgement about a graph, from facts as they are gathered; test/ros/test_doctor.py gathers real ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vlm_perception.apps.doctor.findings import Severity
from vlm_perception.apps.doctor.graph import Camera, Endpoint, GraphFacts, Status, judge_graph

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
NODE = "/robot/vlm_perception"
OURS = Endpoint(NODE, IMAGE, "reliable, volatile")
DRIVER = Endpoint("/driver", IMAGE, "best effort, volatile")
CAMERA = Camera("/camera/image", OURS, publishers=(DRIVER,), images=20)
WELL = GraphFacts(
    node=NODE,
    same_name=1,
    other_nodes=("/driver",),
    lifecycle="active",
    status=Status(0, "detecting", {"answers": "7", "latency p50 (ms)": "410.0"}),
    cameras=(CAMERA,),
    image_topics=("/camera/image", "/other/image"),
    active_prompt="red cup",
    answers=5,
    listened_s=2.0,
)
STARTED = replace(WELL, answers=0, status=Status(0, "detecting", {"answers": "0", "dropped: stale": "9"}))


def camera(**changes: object) -> GraphFacts:
    return replace(WELL, cameras=(replace(CAMERA, **changes),))  # type: ignore[arg-type]


def test_a_healthy_graph_has_nothing_but_good_news() -> None:
    found = judge_graph(WELL)
    assert {finding.level for finding in found} == {Severity.OK}
    assert [f.title for f in found] == ["Node", "Lifecycle", "Diagnostics", "Camera", "Prompt", "Answers"]
    assert "10.0 Hz" in found[3].detail


@pytest.mark.parametrize(
    ("facts", "level", "title", "said"),
    [
        (replace(WELL, same_name=2), Severity.ERROR, "Several nodes have the same name", "2 nodes"),
        (replace(WELL, lifecycle=""), Severity.ERROR, "The node does not answer", "get_state"),
        (replace(WELL, lifecycle="unconfigured"), Severity.WARN, "The node is not active", f"set {NODE} configure"),
        (replace(WELL, lifecycle="inactive"), Severity.WARN, "The node is not active", f"set {NODE} activate"),
        (replace(WELL, status=None), Severity.WARN, "No diagnostics of the node", "2.0 s"),
        (replace(WELL, status=Status(1, "no image on /x")), Severity.WARN, "The node warns", "no image on /x"),
        (replace(WELL, status=Status(2, "no model")), Severity.ERROR, "The node reports an error", "no model"),
        (replace(WELL, status=Status(3, "stale")), Severity.ERROR, "The node reports an error", "stale"),
        (replace(WELL, cameras=()), Severity.ERROR, "The node listens to no camera", "image_topic"),
        (camera(publishers=(), images=0), Severity.ERROR, "No camera", "/other/image"),
        (
            camera(publishers=(replace(DRIVER, topic_type=COMPRESSED),), images=0),
            Severity.ERROR,
            "The camera sends another type",
            "image_transport",
        ),
        (
            camera(mismatches=((DRIVER, "best effort publisher and reliable subscription"),), images=0),
            Severity.ERROR,
            "QoS mismatch",
            f"on /camera/image, {NODE} (reliable, volatile) asks for more than /driver (best effort, volatile) offers",
        ),
        (camera(images=0), Severity.WARN, "The camera is silent", "/driver"),
        (replace(WELL, active_prompt=None), Severity.WARN, "The active prompt is unknown", f"{NODE}/active_prompt"),
        (replace(WELL, active_prompt=" "), Severity.WARN, "No prompt", f"ros2 topic pub --once {NODE}/prompt"),
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


def test_without_the_node_nothing_else_is_judged() -> None:
    (found,) = judge_graph(GraphFacts(NODE, 0, ("/driver",)))
    assert (found.level, found.title) == (Severity.WARN, "The node does not run")
    assert "/driver" in found.detail
    assert "ROS_DOMAIN_ID" in found.remedy


def test_a_node_that_is_not_managed_has_no_lifecycle_finding() -> None:
    assert "Lifecycle" not in {finding.title for finding in judge_graph(replace(WELL, lifecycle=None))}


def test_a_slow_model_that_answered_before_is_fine() -> None:
    found = judge_graph(replace(WELL, answers=0))[-1]
    assert (found.level, found.detail) == (Severity.OK, "7 so far, one takes 410.0 ms")


@pytest.mark.parametrize("facts", [replace(STARTED, active_prompt=""), replace(STARTED, cameras=())])
def test_answers_are_not_expected_without_a_prompt_or_images(facts: GraphFacts) -> None:
    assert "No answer yet" not in {finding.title for finding in judge_graph(facts)}


def test_each_camera_is_judged() -> None:
    two = replace(WELL, cameras=(CAMERA, replace(CAMERA, topic="/rear", publishers=(), images=0)))
    assert [(f.title, f.level) for f in judge_graph(two) if "amera" in f.title] == [
        ("Camera", Severity.OK),
        ("No camera", Severity.ERROR),
    ]
