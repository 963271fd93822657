"""One table of arguments feeds both launch files and the console command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.settings import parameters
from vlm_perception.startup.arguments import (
    DEMO_DEFAULTS,
    LAUNCH_ARGUMENTS,
    StartupError,
    argument_parser,
    main,
    plan_processes,
    share_directory,
)
from vlm_perception.startup.processes import ProcessPlan

KINDS = {"string": str, "integer": int, "double": float, "bool": bool}
# A parameter of every ROS node, not of ours.
OF_ROS = {"use_sim_time"}
BY_NAME = {argument.name: argument for argument in LAUNCH_ARGUMENTS}


def node_plan(**values: str) -> ProcessPlan:
    return plan_processes(values)[0]


def pairs(command: list[str], option: str) -> list[str]:
    return [command[i + 1] for i, word in enumerate(command) if word == option]


def test_table_has_what_the_launch_file_must_offer() -> None:
    assert BY_NAME.keys() >= {"model", "device", "image_topic", "namespace", "config_file", "rviz", "log_level"}
    for argument in LAUNCH_ARGUMENTS:
        assert argument.description.endswith("."), argument.name
        assert not argument.choices or argument.default in argument.choices, argument.name
    assert DEMO_DEFAULTS.keys() <= BY_NAME.keys()


def test_arguments_that_set_parameters_agree_with_the_settings() -> None:
    settings = {parameter.name: parameter for parameter in parameters()}
    for argument in LAUNCH_ARGUMENTS:
        if argument.kind is not None and argument.name not in OF_ROS:
            assert KINDS[settings[argument.name].kind] is argument.kind, argument.name
            if argument.choices:
                allowed = settings[argument.name].limits.split(", ")
                assert set(argument.choices) - {""} == set(allowed), argument.name


def test_nothing_given_leaves_every_parameter_to_the_file() -> None:
    plan = node_plan()
    assert plan.parameters == {}
    assert plan.remappings == ()
    assert plan.parameter_files == (str(ROOT / "config" / "vlm_perception.yaml"),)


def test_given_parameters_come_after_the_file_so_that_they_win() -> None:
    command = node_plan(model="some/model", max_rate_hz="2").command()
    assert command.index("--params-file") < command.index("model:=" + json.dumps("some/model"))
    assert "max_rate_hz:=2.0" in pairs(command, "-p"), "a double parameter refuses an integer"


@pytest.mark.parametrize("name", ["autostart", "use_sim_time"])
@pytest.mark.parametrize(("text", "said"), [("true", ["true"]), ("false", ["false"]), ("", [])])
def test_a_switch_reaches_ros_as_a_switch(name: str, text: str, said: list[str]) -> None:
    given_values = pairs(node_plan(**{name: text}).command(), "-p")
    assert given_values == [f"{name}:={value}" for value in said]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_prompt_reaches_ros_as_the_same_string(prompt: str) -> None:
    (given_prompt,) = pairs(node_plan(prompt=prompt).command(), "-p")
    assert yaml.safe_load(given_prompt.removeprefix("prompt:=")) == prompt


def test_tiny_is_the_checkpoint_of_the_package() -> None:
    assert node_plan(model="tiny").parameters["model"] == str(share_directory() / "models" / "tiny")


def test_topic_namespace_and_level_are_passed_on() -> None:
    command = node_plan(image_topic="/camera/color", namespace="robot_1/", log_level="debug").command()
    assert "image:=/camera/color" in pairs(command, "-r")
    assert "__ns:=/robot_1" in pairs(command, "-r")
    assert pairs(command, "--log-level") == ["debug"]


def test_demo_starts_the_camera_beside_the_node() -> None:
    assert [plan.executable for plan in plan_processes(DEMO_DEFAULTS)] == ["vlm_perception_node", "scene_camera"]


@pytest.mark.parametrize(
    ("values", "topic"),
    [
        ({"scene_camera": "true"}, "scene_camera/image"),
        ({"scene_camera": "true", "image_topic": "/front/image_raw"}, "/front/image_raw"),
        ({"image_topic": "image"}, ""),
    ],
)
def test_a_drawn_camera_that_is_started_is_looked_at(values: dict[str, str], topic: str) -> None:
    assert node_plan(**values).remappings == ((("image", topic),) if topic else ())


def test_rviz_that_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(plan_processes({"rviz": "true"})) == 1
    assert "rviz2 is not installed" in capsys.readouterr().err


def test_rviz_sees_the_topics_of_the_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rviz2").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    rviz = plan_processes({"rviz": "true", "namespace": "robot", "image_topic": "camera/image"})[1]
    layout = yaml.safe_load(Path(rviz.arguments[1]).read_text())
    shown = {display["Topic"]["Value"] for display in layout["Visualization Manager"]["Displays"]}
    assert {source for source, _ in rviz.remappings} == shown
    assert {target for _, target in rviz.remappings} == {"/robot/vlm_perception/annotated_image", "/robot/camera/image"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"modell": "x"}, "unknown argument modell"),
        ({"rviz": "yes"}, "rviz is 'yes', allowed: true, false"),
        ({"autostart": "no"}, "autostart is 'no', allowed: (empty), true, false"),
        ({"max_rate_hz": "fast"}, "max_rate_hz is 'fast', which is not of type float"),
        ({"config_file": "/no/such.yaml"}, "config_file /no/such.yaml is not a file"),
    ],
)
def test_wrong_value_is_named_with_its_remedy(values: dict[str, str], said: str) -> None:
    with pytest.raises(StartupError) as error:
        plan_processes(values)
    assert said in str(error.value)
    assert "Remedy: " in str(error.value)


def test_command_line_offers_the_same_arguments_and_defaults() -> None:
    parsed = vars(argument_parser({}).parse_args([]))
    assert parsed.pop("demo") is False
    assert parsed == {argument.name: argument.default for argument in LAUNCH_ARGUMENTS}


def test_wrong_value_on_the_command_line_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--max-rate-hz", "fast"]) == 2
    assert "Remedy" in capsys.readouterr().err
