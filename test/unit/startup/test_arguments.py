"""One table of arguments feeds both launch files and the console command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.settings import parameters
from vlm_perception.startup import arguments
from vlm_perception.startup.arguments import (
    DEMO_DEFAULTS,
    LAUNCH_ARGUMENTS,
    StartupError,
    argument_parser,
    ending_of,
    main,
    plan_processes,
    resolve_model,
    share_directory,
)
from vlm_perception.startup.processes import ProcessPlan

KINDS = {"string": str, "integer": int, "double": float, "bool": bool}
# A parameter of every ROS node, not of ours.
OF_ROS = {"use_sim_time"}
SWITCHES = ("autostart", "use_sim_time")
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
    assert (plan.parameters, plan.remappings) == ({}, ())
    assert plan.parameter_files == (str(ROOT / "config" / "vlm_perception.yaml"),)


def test_given_parameters_come_after_the_file_so_that_they_win() -> None:
    command = node_plan(model="some/model").command()
    assert command.index("--params-file") < command.index("model:=" + json.dumps("some/model"))


@pytest.mark.parametrize(
    ("values", "option", "said"),
    [
        *(({name: text}, "-p", [f"{name}:={text}"]) for name in SWITCHES for text in ("true", "false")),
        *(({name: ""}, "-p", []) for name in SWITCHES),
        ({"max_rate_hz": "2"}, "-p", ["max_rate_hz:=2.0"]),  # a double parameter refuses an integer
        ({"model": "tiny"}, "-p", [f"model:={json.dumps(str(share_directory() / 'models' / 'tiny'))}"]),
        ({"namespace": "robot_1/"}, "-r", ["__ns:=/robot_1"]),
        ({}, "--log-level", ["info"]),
        ({"log_level": "warn"}, "--log-level", ["warn"]),
        ({"log_level": "debug"}, "--log-level", ["vlm_perception:=debug"]),
        ({"log_level": "debug", "namespace": "/a/b/"}, "--log-level", ["a.b.vlm_perception:=debug"]),
        ({"image_topic": "/camera/color"}, "-r", ["image:=/camera/color"]),
        ({"image_topic": "image"}, "-r", []),
        ({"depth_topic": "/camera/depth"}, "-p", ['depth_topics:=["/camera/depth"]']),
        ({"target_frame": "map"}, "-p", ['target_frame:="map"']),
        # A drawn camera that is started is looked at.
        ({"scene_camera": "true"}, "-r", ["image:=scene_camera/image"]),
        ({"scene_camera": "true", "image_topic": "/front/image_raw"}, "-r", ["image:=/front/image_raw"]),
    ],
)
def test_what_a_value_says_to_ros(values: dict[str, str], option: str, said: list[str]) -> None:
    words = pairs(node_plan(**values).command(), option)
    assert [word for word in words if not word.startswith("__node:=")] == said


@pytest.mark.parametrize(
    ("model", "shipped"),
    [
        ("tiny", True),
        ("tiny-qwen3-vl", True),
        ("tiny-other", False),
        ("tiny-qwen3-vl/..", False),
        ("some/tiny-qwen3-vl", False),
        ("http://tiny-qwen3-vl", False),
    ],
)
def test_a_tiny_model_by_name_is_the_one_in_the_package(
    model: str, shipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "tiny-qwen3-vl").mkdir(parents=True)
    monkeypatch.setattr(arguments, "share_directory", lambda: tmp_path)
    assert resolve_model(model) == (str(tmp_path / "models" / model) if shipped else model)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_prompt_reaches_ros_as_the_same_string(prompt: str) -> None:
    (given_prompt,) = pairs(node_plan(prompt=prompt).command(), "-p")
    assert yaml.safe_load(given_prompt.removeprefix("prompt:=")) == prompt


def test_demo_starts_the_camera_beside_the_node() -> None:
    assert [plan.executable for plan in plan_processes(DEMO_DEFAULTS)] == ["vlm_perception_node", "scene_camera"]


def test_rviz_that_is_not_installed_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(plan_processes({"rviz": "true"})) == 1
    assert "rviz2 is not installed" in capsys.readouterr().err


def test_rviz_stands_beside_the_node_and_is_never_a_process_to_start_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rviz2").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    node, rviz = plan_processes({"rviz": "true", "namespace": "robot", "image_topic": "camera/image"})
    assert (rviz.namespace, rviz.remappings) == (node.namespace, node.remappings)
    assert rviz.command()[:4] == [sys.executable, "-m", "vlm_perception.startup.commands", "rviz"]
    assert not ending_of(rviz, {"respawn": "true", "respawn_delay_s": "1", "exit_ends_launch": "false"}).respawn


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
