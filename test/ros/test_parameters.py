"""Parameters as ROS tools see and change them, over DDS."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from checkout import ROOT
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import DescribeParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter

from vlm_perception.errors import SettingsError
from vlm_perception.ros.node import VlmPerceptionNode
from vlm_perception.settings import Settings, parameters

KNOWN = {parameter.name: parameter for parameter in parameters()}


def call(robot: Any, kind: Any, name: str, request: Any) -> Any:
    client = robot.client.create_client(kind, f"/vlm_perception/{name}")
    robot.until(client.service_is_ready, name)
    future = client.call_async(request)
    robot.until(future.done, name)
    return future.result()


def messages(values: dict[str, Any]) -> list[Any]:
    return [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]


def set_together(robot: Any, **values: Any) -> Any:
    request = SetParametersAtomically.Request(parameters=messages(values))
    return call(robot, SetParametersAtomically, "set_parameters_atomically", request).result


def test_every_parameter_describes_itself(robot, scripted) -> None:
    robot.node(scripted)
    request = DescribeParameters.Request(names=list(KNOWN))
    for found in call(robot, DescribeParameters, "describe_parameters", request).descriptors:
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
    assert not set_together(robot, min_pixels=2_000_000).successful
    assert set_together(robot, min_pixels=2_000_000, max_pixels=3_000_000).successful
    refused = set_together(robot, max_rate_hz=1.0, min_pixels=4_000_000)
    assert not refused.successful
    assert "min_pixels 4000000 is above max_pixels 3000000; lower min_pixels or raise max_pixels" in refused.reason
    assert (node._shared.settings.max_rate_hz, node.get_parameter("max_rate_hz").value) == (100.0, 100.0)
    cameras = {"image_topics": ["/front", "/rear"], "camera_weights": [2.0, 1.0]}
    assert not set_together(robot, camera_weights=cameras["camera_weights"]).successful
    assert set_together(robot, **cameras).successful
    robot.until(lambda: robot.client.count_subscribers("/rear") == 1, "the new camera is heard")


def test_what_somebody_else_refuses_is_not_applied(robot, talk, scripted) -> None:
    """A change is made once everybody has agreed."""
    node = robot.node(scripted, prompt="cup")
    t = talk()
    node.add_on_set_parameters_callback(
        lambda changes: SetParametersResult(successful=all(c.name != "jpeg_quality" for c in changes), reason="busy")
    )
    assert not set_together(robot, prompt="plate", jpeg_quality=50).successful
    request = SetParameters.Request(parameters=messages({"max_rate_hz": 7.0}))
    assert call(robot, SetParameters, "set_parameters", request).results[0].successful
    assert (node._shared.settings.prompt, node._shared.settings.max_rate_hz) == ("cup", 7.0)
    assert [m.data for m in t.active.messages] == ["cup"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_age_s": 0.0}, ["max_age_s", "0.01"]),
        ({"task": "guess"}, ["task", "'guess'", "detect", "count"]),
        ({"image_topics": ["/a b"]}, ["image_topics", "/a b"]),
        ({"jpeg_quality": 101}, ["jpeg_quality"]),
        ({"prompt": "x" * 5000}, ["5000"]),
    ],
)
def test_a_bad_value_is_refused_with_value_limit_and_remedy(robot, scripted, values, words) -> None:
    node = robot.node(scripted)
    before = node._shared.settings
    refused = set_together(robot, **values)
    assert not refused.successful
    assert all(word in refused.reason for word in words), refused.reason
    assert node._shared.settings == before


def test_unknown_names_of_a_parameter_file_are_warned_about_with_the_nearest(robot, talk, scripted, tmp_path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    max_rate: 3.0\n    zzz: true\n    jpeg_quality: 80\n    use_sim_time: false\n"
        '    "qos_overrides./image.subscription.depth": 2\n'
    )
    node = VlmPerceptionNode(scripted, context=robot.context, cli_args=["--ros-args", "--params-file", str(file)])
    robot.nodes.append(node)
    robot.spin(node)
    t = talk()
    assert node._shared.settings.jpeg_quality == 80
    t.diagnostic("errors: unknown_parameter", "2")
    warned = sorted(m.msg for m in t.logs.messages if "there is no parameter" in m.msg)
    assert warned == [
        "there is no parameter max_rate, which was set to 3.0; did you mean max_rate_hz?",
        "there is no parameter zzz, which was set to True; it is ignored",
    ]


def test_a_node_that_cannot_start_leaves_nothing_behind(robot, talk, scripted) -> None:
    with pytest.raises(SettingsError):
        VlmPerceptionNode(
            scripted, context=robot.context, parameter_overrides=[Parameter("image_topics", value=["/a b"])]
        )
    robot.node(scripted, prompt="cup")
    t = talk()
    robot.until(lambda: robot.client.get_node_names().count("vlm_perception") == 1, "one node of that name")
    t.logs.wait_for(lambda m: "the node is active" in m.msg)


def test_prompt_and_rate_change_live(robot, talk, scripted) -> None:
    robot.node(scripted)
    t = talk()
    assert set_together(robot, prompt="the third cup", max_new_tokens=77, task="detect").successful
    t.active.wait_for(lambda m: m.data == "the third cup")
    t.show_until(t.answers)
    assert scripted.requests[-1].max_new_tokens == 77


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
