"""RViz starts with the cameras of the running node, whatever its namespace; rviz2 itself is a stand-in that says so."""

from __future__ import annotations

import os
import subprocess

import pytest
import yaml
from scripted_engine import PATIENCE_S

from vlm_perception.startup.arguments import plan_processes

RVIZ = '#!/bin/sh\necho "$1"\ncat "$2"\n'


@pytest.mark.parametrize(
    ("topics", "shown"),
    [
        ([], ["/robot1/vlm_perception/annotated_image"]),
        (
            ["/front/image_raw", "rear/image_raw"],
            ["/robot1/vlm_perception/front/annotated_image", "/robot1/vlm_perception/rear/annotated_image"],
        ),
    ],
)
def test_a_panel_for_each_camera(robot, scripted, tmp_path, monkeypatch, topics, shown):
    (tmp_path / "rviz2").write_text(RVIZ)
    (tmp_path / "rviz2").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "ros"))
    depths = ["", "rear/depth"] if topics else []
    memory = {"memory_file": str(tmp_path / "places.db")} if topics else {}
    robot.node(
        scripted, remap=("__ns:=/robot1",), image_topics=topics, depth_topics=depths, target_frame="map", **memory
    )
    _, rviz = plan_processes({"rviz": "true", "namespace": "robot1", "image_topic": "camera/image"})
    process = robot.start(*rviz.command()[1:], stdout=subprocess.PIPE)
    said, _ = process.communicate(timeout=PATIENCE_S)
    option, layout = said.split("\n", 1)
    manager = yaml.safe_load(layout)["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "map"
    # Two of each camera; then what a camera with depth has in space.
    displays, space = manager["Displays"][: 2 * len(shown)], manager["Displays"][2 * len(shown) :]
    clouds = [each["Depth Map Topic"] for each in space if "Depth Map Topic" in each]
    assert clouds == (["/robot1/rear/depth"] if topics else [])
    assert (option, process.returncode) == ("-d", 0)
    assert ("Memory" in [each["Name"] for each in space]) == bool(memory)
    assert [each["Topic"]["Value"] for each in displays if each["Enabled"]] == shown
    plain = [each["Topic"]["Value"] for each in displays if not each["Enabled"]]
    assert plain == (["/front/image_raw", "/robot1/rear/image_raw"] if topics else ["/robot1/camera/image"])
