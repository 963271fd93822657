"""Parameters as ROS tools see and change them, over DDS."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from checkout import ROOT
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import DescribeParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from vlm_perception.errors import SettingsError
from vlm_perception.settings import Settings, parameters

KNOWN = {parameter.name: parameter for parameter in parameters()}


def test_every_parameter_describes_itself(robot, scripted) -> None:
    robot.node(scripted)
    request = DescribeParameters.Request(names=list(KNOWN))
    for found in robot.call(DescribeParameters, "describe_parameters", request).descriptors:
        known = KNOWN[found.name]
        assert found.description.startswith(known.description)
        assert found.read_only == known.fixed
        assert ("unconfigured" in found.additional_constraints) == (not known.live and not known.fixed)
        assert all(choice in found.additional_constraints for choice in known.choices)
        (bounds,) = [*found.integer_range, *found.floating_point_range] or [None]
        if known.minimum is not None:
            assert (bounds.from_value, bounds.to_value) == (known.minimum, known.maximum)


def test_parameters_that_depend_on_one_another_move_together_or_not_at_all(robot, scripted) -> None:
    node = robot.node(scripted)
    assert not robot.set_parameters(min_pixels=2_000_000).successful
    assert robot.set_parameters(min_pixels=2_000_000, max_pixels=3_000_000).successful
    refused = robot.set_parameters(max_rate_hz=1.0, min_pixels=4_000_000)
    assert not refused.successful
    assert "min_pixels 4000000 is above max_pixels 3000000; lower min_pixels or raise max_pixels" in refused.reason
    assert (node._shared.settings.max_rate_hz, node.get_parameter("max_rate_hz").value) == (100.0, 100.0)
    cameras = {"image_topics": ["/front", "/rear"], "camera_weights": [2.0, 1.0]}
    assert not robot.set_parameters(camera_weights=cameras["camera_weights"]).successful
    assert robot.set_parameters(**cameras).successful
    robot.until(lambda: robot.client.count_subscribers("/rear") == 1, "the new camera is heard")


def test_what_somebody_else_refuses_is_not_applied(robot, talk, scripted) -> None:
    """A change is made once everybody has agreed."""
    t = talk(scripted, prompt="cup")
    node = t.node
    node.add_on_set_parameters_callback(
        lambda changes: SetParametersResult(successful=all(c.name != "jpeg_quality" for c in changes), reason="busy")
    )
    assert not robot.set_parameters(prompt="plate", jpeg_quality=50).successful
    assert robot.set_parameters(max_rate_hz=7.0).successful
    assert (node._shared.settings.prompt, node._shared.settings.max_rate_hz) == ("cup", 7.0)
    assert {m.data for m in t.active.messages} == {"cup"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_age_s": 0.0}, ["max_age_s", "0.01"]),
        ({"task": "guess"}, ["task", "'guess'", "detect", "count"]),
        ({"image_topics": ["/a b"]}, ["image_topics", "/a b"]),
        ({"jpeg_quality": 101}, ["jpeg_quality"]),
        ({"prompt": "x" * 5000}, ["5000"]),
        ({"image_topics": ["/back/image_raw"], "prompt": "point:"}, ["names nothing to look for"]),
    ],
)
def test_a_bad_value_is_refused_with_value_limit_and_remedy(robot, scripted, values, words) -> None:
    node = robot.node(scripted)
    before = node._shared.settings
    refused = robot.set_parameters(**values)
    assert not refused.successful
    assert all(word in refused.reason for word in words), refused.reason
    assert node._shared.settings == before
    assert node.count_subscribers("/image") == 1


def test_unknown_names_of_a_parameter_file_are_warned_about_with_the_nearest(robot, talk, scripted, tmp_path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    max_rate: 3.0\n    zzz: true\n    jpeg_quality: 80\n    use_sim_time: false\n"
        '    "qos_overrides./image.subscription.depth": 2\n'
    )
    t = talk(scripted, arguments=("--params-file", str(file)))
    assert t.node._shared.settings.jpeg_quality == 80
    t.diagnostic("errors: unknown_parameter", "2")
    warned = sorted(m.msg for m in t.logs.messages if "there is no parameter" in m.msg)
    assert warned == [
        "there is no parameter max_rate, which was set to 3.0; did you mean max_rate_hz?",
        "there is no parameter zzz, which was set to True; it is ignored",
    ]


def test_a_node_that_cannot_start_leaves_nothing_behind(robot, talk, scripted) -> None:
    for topics in (["/a b"], ["/a", "/a"], ["a", "/a"]):
        with pytest.raises(SettingsError, match="image_topics"):
            robot.node(scripted, image_topics=topics)
    t = talk(scripted, prompt="cup")
    robot.until(lambda: robot.client.get_node_names().count("vlm_perception") == 1, "one node of that name")
    t.logs.wait_for(lambda m: "the node is active" in m.msg)


def test_parameters_change_while_the_node_runs(robot, talk, scripted) -> None:
    t = talk(scripted)
    assert robot.set_parameters(max_rate_hz=50).successful, "a whole number is a rate too"
    assert robot.set_parameters(prompt="point to the handle", max_new_tokens=77).successful
    t.active.wait_for(lambda m: m.data == "point to the handle")
    assert json.loads(t.show_until(t.answers).data)["task"] == "point"
    assert scripted.requests[-1].max_new_tokens == 77
    refused = robot.set_parameters(model="other")
    assert (refused.successful, "only while the node is unconfigured" in refused.reason) == (False, True)


@pytest.mark.parametrize("value", [[], ["/a", "/b"]])
def test_a_list_of_topics_is_read(robot, scripted, value) -> None:
    """An empty list has no type of its own among ROS parameters."""
    read = robot.node(scripted, image_topics=value).get_parameter("image_topics")
    assert (read.value, read.type_) == (value, Parameter.Type.STRING_ARRAY)


def test_weights_may_be_whole_numbers_are_set_live_and_refused_with_a_reason(robot, scripted) -> None:
    node = robot.node(scripted)
    assert node.get_parameter("camera_weights").type_ is Parameter.Type.DOUBLE_ARRAY
    for weights, refusal in (([2], ""), ([1.0, 2.0], "2 values for 1 cameras"), ([], "")):
        (done,) = node.set_parameters([Parameter("camera_weights", value=weights)])
        assert (done.successful, refusal in done.reason) == (not refusal, True)


DOUBLES = [parameter for parameter in KNOWN.values() if parameter.kind == "double"]
WHOLE = {parameter.name: max(1, math.ceil(parameter.minimum or 0)) for parameter in DOUBLES}


def test_a_double_that_is_set_to_a_whole_number_stays_a_double(robot, scripted) -> None:
    """At the start, later, and as others see it."""
    node = robot.node(scripted, reaches=None, autostart=False, camera_weights=[1], **WHOLE)
    request = DescribeParameters.Request(names=[*WHOLE, "camera_weights"])

    def seen() -> list[tuple[str, int, object]]:
        found = robot.call(DescribeParameters, "describe_parameters", request).descriptors
        return [(each.name, each.type, node.get_parameter(each.name).value) for each in found]

    expected = [*((name, 3, float(value)) for name, value in WHOLE.items()), ("camera_weights", 8, [1.0])]
    assert seen() == expected
    assert all(type(value) is not int for _, _, value in seen())
    assert robot.set_parameters(**WHOLE, camera_weights=[1]).successful
    assert seen() == expected
    refused = robot.set_parameters(max_rate_hz=True)
    assert (refused.successful, "max_rate_hz" in refused.reason) == (False, True)


def test_a_double_stays_one_where_rclpy_asks_nobody_before_a_change(robot, scripted, monkeypatch) -> None:
    """As in Humble."""
    monkeypatch.delattr(Node, "add_pre_set_parameters_callback")
    node = robot.node(scripted)
    assert robot.set_parameters(max_rate_hz=5).successful
    read = node.get_parameter("max_rate_hz")
    assert (read.value, read.type_, node._shared.settings.max_rate_hz) == (5.0, Parameter.Type.DOUBLE, 5.0)


def test_every_shipped_parameter_file_is_good() -> None:
    root = ROOT
    files = [*root.glob("config/*.yaml"), *root.glob("launch/examples/*.yaml")]
    # That one is for another node, Nav2's.
    ours = [file for file in files if file.name != "lifecycle_manager.yaml"]
    assert len(ours) >= 2
    for file in ours:
        (content,) = yaml.safe_load(file.read_text(encoding="utf-8")).values()
        values = content["ros__parameters"]
        Settings.from_mapping({name: value for name, value in values.items() if name != "use_sim_time"})
