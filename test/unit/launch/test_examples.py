"""The examples for a robot's own launch files name files, arguments and parameters that exist."""

from __future__ import annotations

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import setuptools
import yaml
from checkout import ROOT
from recorded_launch import load, of_type

from vlm_perception.settings import Settings
from vlm_perception.startup.arguments import ENDING_ARGUMENTS, LAUNCH_ARGUMENTS, ending_of, plan_processes

FOLDER = ROOT / "launch" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.launch.xml"))
CAMERAS = yaml.safe_load((FOLDER / "two_cameras.yaml").read_text())["/**"]["ros__parameters"]


def on_this_disk(path: str) -> str:
    return path.replace("$(find-pkg-share vlm_perception)", str(ROOT))


def includes(path: Path) -> list[ET.Element]:
    return ET.parse(path).getroot().findall(".//include")


def image_topics(path: Path) -> set[str]:
    """The topics of the usb_cam nodes of a file."""
    cameras = ET.parse(path).getroot().findall(".//node[@pkg='usb_cam']")
    return {f"/{node.get('namespace')}/image_raw" for node in cameras}


def arguments(include: ET.Element) -> dict[str, str]:
    return {arg.attrib["name"]: on_this_disk(arg.attrib["value"]) for arg in include.findall("arg")}


def test_there_are_examples() -> None:
    names = {"lifecycle.launch.xml", "robot.launch.xml", "two_cameras.launch.xml"}
    assert {path.name for path in EXAMPLES} == names


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_included_file_takes_what_it_is_given_and_what_people_give_is_described(path: Path) -> None:
    assert all(arg.get("description") for arg in ET.parse(path).getroot().findall("arg"))
    (include,) = includes(path)
    assert Path(on_this_disk(include.attrib["file"])).is_file()
    given = arguments(include)
    ending = {argument.name: given.pop(argument.name, argument.default) for argument in ENDING_ARGUMENTS}
    plans = plan_processes(given)  # refuses unknown names, wrong values and files that do not exist
    assert given.keys() <= {argument.name for argument in LAUNCH_ARGUMENTS}
    assert ending_of(plans[0], ending).ends_launch is False


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_robot_and_the_node_do_not_share_their_arguments(path: Path) -> None:
    (group,) = ET.parse(path).getroot().findall("group")
    assert (group.get("scoped"), group.get("forwarding")) == ("true", "false")
    assert group.find("include") is not None
    assert "$(var" not in ET.tostring(group, encoding="unicode"), "would be unknown in there"


def test_the_node_listens_to_the_camera_of_the_example() -> None:
    (include,) = includes(FOLDER / "robot.launch.xml")
    assert {arguments(include)["image_topic"]} == image_topics(FOLDER / "robot.launch.xml")


def test_the_python_example_is_the_xml_one(monkeypatch: pytest.MonkeyPatch) -> None:
    described = load(FOLDER / "robot.launch.py", monkeypatch).generate_launch_description().args[0]
    (camera,), (group,) = of_type(described, "Node"), of_type(described, "GroupAction")
    (include,) = group.args[0]
    (given,) = includes(FOLDER / "robot.launch.xml")
    assert dict(include.kwargs["launch_arguments"]) == arguments(given)
    assert group.kwargs == {"scoped": True, "forwarding": False}
    package, *path = include.args[0].args[0].args[0]
    assert (package.args, ROOT.joinpath(*path).is_file()) == (("vlm_perception",), True)
    (xml_camera,) = ET.parse(FOLDER / "robot.launch.xml").getroot().findall("node")
    written = {"package": "pkg", "executable": "exec", "name": "name", "namespace": "namespace"}
    assert all(camera.kwargs[ours] == xml_camera.get(theirs) for ours, theirs in written.items())


def test_the_manager_brings_up_the_node_of_its_own_namespace() -> None:
    (group,) = ET.parse(FOLDER / "lifecycle.launch.xml").getroot().findall("group")
    first, include, manager = group
    assert first.tag == "push_ros_namespace", "what comes before it is not in the namespace"
    values = arguments(include)
    assert values["autostart"] == "false", "two would configure the node"
    assert {f"/{first.get('namespace')}/{values['image_topic']}"} == image_topics(FOLDER / "lifecycle.launch.xml")
    (node,) = plan_processes(values)
    parameters = yaml.safe_load(Path(on_this_disk(manager[0].attrib["from"])).read_text())["/**"]["ros__parameters"]
    assert parameters["node_names"] == [node.name]
    # As a double: to ROS 0 is an integer, and the manager refuses to start.
    assert isinstance(parameters["bond_timeout"], float)
    assert (parameters["bond_timeout"], parameters["autostart"]) == (0.0, True)


def test_the_node_listens_to_both_cameras_of_the_example() -> None:
    assert set(CAMERAS["image_topics"]) == image_topics(FOLDER / "two_cameras.launch.xml")
    assert len(CAMERAS["camera_weights"]) == len(CAMERAS["image_topics"]) == 2
    assert list(Settings.from_mapping(CAMERAS).to_mapping()["image_topics"]) == CAMERAS["image_topics"]


def test_examples_are_installed_where_ros2_launch_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **keywords: asked.update(keywords))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    installed = dict(asked["data_files"])["share/vlm_perception/launch/examples"]
    assert sorted(installed) == sorted(f"launch/examples/{path.name}" for path in FOLDER.iterdir() if path.is_file())
