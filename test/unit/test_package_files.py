"""package.xml, setup.py and setup.cfg agree with each other and with the tree."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from fnmatch import fnmatch
from importlib import import_module, metadata

import pytest
from checkout import ROOT

import vlm_perception
from vlm_perception.startup import commands as console

PACKAGE_XML = ET.parse(ROOT / "package.xml").getroot()
ROSDEP_KEYS = {
    "rclpy", "cv_bridge", "vision_msgs", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs",
    "visualization_msgs", "launch", "launch_ros", "ros2launch",
}  # fmt: skip


def test_package_xml_names_every_rosdep_key() -> None:
    named = {element.text for element in PACKAGE_XML if element.tag.endswith("depend")}
    assert named >= ROSDEP_KEYS


def test_package_xml_names_nothing_that_is_imported_nowhere() -> None:
    """But for what is used by name alone: the launch command, and the environment of `make setup`."""
    sources = [*(ROOT / "vlm_perception").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    named = {element.text for element in PACKAGE_XML if element.tag == "exec_depend"}
    assert named - imported == {"ros2launch", "python3-venv"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_git_holds_nothing_that_it_ignores() -> None:
    """Such as a link to an environment: checking it out deletes the environment that is there."""
    line = ["git", "-C", str(ROOT), "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(line, check=True, capture_output=True, text=True).stdout == ""


def test_make_test_leaves_out_no_folder_of_tests(pytestconfig: pytest.Config) -> None:
    """By itself pytest does not look into a folder named `build`, ruff neither."""
    left_out = pytestconfig.getini("norecursedirs")
    folders = {part for path in (ROOT / "test").rglob("test_*.py") for part in path.relative_to(ROOT).parts[:-1]}
    assert not [name for name in folders for pattern in left_out if fnmatch(name, pattern)]


@pytest.mark.parametrize("page", ["README.md", "docs/robot.md"])
def test_the_apt_line_installs_what_the_lines_below_it_use(page: str) -> None:
    """What neither `ros-base` nor a fresh machine has."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^sudo apt install (.*?)(?: &&.*)?$", text, re.MULTILINE)
    ours = {f"ros-$ROS_DISTRO-{name}" for name in ("vision-msgs", "cv-bridge", "rviz2")}
    assert set(line.split()) == {"git", "make", "python3-venv", "python3-colcon-common-extensions", *ours}


def test_package_xml_and_package_agree_on_name_and_version() -> None:
    assert PACKAGE_XML.findtext("name") == "vlm_perception"
    assert PACKAGE_XML.findtext("version") == vlm_perception.__version__ == metadata.version("vlm-perception")
    assert PACKAGE_XML.find("export/build_type").text == "ament_python"  # type: ignore[union-attr]


def test_scripts_go_where_ros2_launch_looks() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    assert config["install"]["install_scripts"] == "$base/lib/vlm_perception"
    assert config["develop"]["script_dir"] == "$base/lib/vlm_perception"
    assert config["build_scripts"]["executable"] == "/usr/bin/env python3"


SCRIPTS = "console_scripts"
ENTRY_POINTS = """
import json, runpy, setuptools
setuptools.setup = lambda **given: print(json.dumps(given["entry_points"]))
runpy.run_path("setup.py")
"""


def test_the_doctor_is_a_check_of_ros2_doctor() -> None:
    done = subprocess.run([sys.executable, "-c", ENTRY_POINTS], cwd=ROOT, capture_output=True, text=True, check=True)
    points = json.loads(done.stdout.splitlines()[-1])
    assert points.keys() == {SCRIPTS, "ros2doctor.checks"}
    (line,) = points["ros2doctor.checks"]
    module, _, name = line.partition(" = ")[2].partition(":")
    check = getattr(import_module(module), name)
    assert {"category", "check"} <= set(dir(check)), "what ros2 doctor calls"


def test_every_command_has_a_console_script_of_its_name() -> None:
    scripts = {e.name: e.load() for e in metadata.distribution("vlm-perception").entry_points.select(group=SCRIPTS)}
    assert scripts.keys() == console.COMMANDS.keys()
    assert set(scripts.values()) == {console.main}


@pytest.mark.parametrize("module", sorted(console.COMMANDS.values()))
def test_every_command_leads_to_a_main(module: str) -> None:
    assert callable(import_module(module).main)


def test_colcon_sees_our_own_interfaces_and_not_those_that_are_of_ros() -> None:
    folders = {path.parent for path in (ROOT / "interfaces").glob("*/package.xml")}
    assert {path.name for path in folders if not (path / "COLCON_IGNORE").exists()} == {"vlm_perception_msgs"}
    assert not (ROOT / "vision_msgs").exists(), "would shadow the installed vision_msgs when run from the checkout"


@pytest.mark.parametrize("path", [".ci/run", "scripts/run.sh", "scripts/bootstrap.py"])
def test_scripts_are_executable(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)


def test_licence_is_the_one_that_is_declared() -> None:
    assert PACKAGE_XML.findtext("license") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
