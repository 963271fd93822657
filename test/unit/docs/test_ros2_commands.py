"""Every `ros2 ...` command line that is printed anywhere is one that works."""

from __future__ import annotations

import pytest
from ros2_commands import commands_in, printed_commands, problem_with

NODE = "/vlm_perception"
LAUNCH = "ros2 launch vlm_perception vlm_perception.launch.py"
RUN = "ros2 run vlm_perception"
# All of them, once. What is new in a page or a message is tried under the real ros2cli before it comes in here.
PRINTED = [
    f"{LAUNCH} autostart:=false",
    f"{LAUNCH} config_file:=$HOME/robot.yaml respawn:=true",
    f"{LAUNCH} frame_policy:=every use_sim_time:=true",
    f'{LAUNCH} image_topic:=/camera/image_raw prompt:="red cup" rviz:=true',
    f'{LAUNCH} image_topic:=/front/image_raw prompt:="red cup" rviz:=true',
    "ros2 launch vlm_perception demo.launch.py",
    "ros2 launch vlm_perception lifecycle.launch.xml",
    "ros2 launch vlm_perception robot.launch.xml",
    "ros2 launch vlm_perception two_cameras.launch.xml",
    "ros2 launch realsense2_camera rs_launch.py camera_namespace:=front camera_name:=camera",
    "ros2 launch usb_cam camera.launch.py",
    "ros2 run usb_cam usb_cam_node_exe",
    "ros2 run usb_cam usb_cam_node_exe --ros-args -r __ns:=/front",
    "ros2 run v4l2_camera v4l2_camera_node",
    f"{RUN} file_camera --ros-args -p path:=$HOME/drive -p topic:=/front/image_raw -p clock:=true -p loop:=false",
    f"{RUN} file_camera --ros-args -p path:=$HOME/street.mp4 -r '~/image:=/image'",
    f"{RUN} scene_camera --ros-args -p seed:=7 -p n_objects:=3",
    f"{RUN} scene_camera --ros-args -p world:=true -p base_turn:=45.0",
    f"{RUN} {{program}} --ros-args -p {{example}}",
    f"{RUN} vlm-perception-doctor",
    f"{RUN} vlm_perception_node --check-environment",
    f"{RUN} vlm_perception_node --ros-args -r __ns:=/robot1 -r image:=/front/image_raw"
    " --enclave /robot1/vlm_perception",
    f"ros2 action send_goal --feedback {NODE}/detect vlm_perception_msgs/action/Detect \"{{prompt: 'red cup'}}\"",
    f"ros2 service call {NODE}/detect_at vlm_perception_msgs/srv/DetectAt"
    " \"{prompt: 'cup', stamp: {sec: 12, nanosec: 0}}\"",
    f"ros2 service call {NODE}/where_is vlm_perception_msgs/srv/WhereIs \"{{text: 'the red cup'}}\"",
    f"ros2 service call {NODE}/forget vlm_perception_msgs/srv/Forget \"{{text: 'cups'}}\"",
    "ros2 interface show vlm_perception_msgs/srv/WhereIs",
    f"ros2 lifecycle set {NODE} configure",
    f"ros2 lifecycle set {NODE} activate",
    f"ros2 lifecycle set {NODE} deactivate",
    f"ros2 lifecycle set {NODE} cleanup",
    "ros2 lifecycle set {facts.node} {step}",
    f"ros2 param set {NODE} NAME VALUE",
    f"ros2 param set {NODE} hang_exit_s 30.0",
    f"ros2 param set {NODE} max_pixels 401408",
    "ros2 security create_keystore keys",
    "ros2 security create_enclave keys /robot1/vlm_perception",
    "ros2 security create_permission keys /robot1/vlm_perception policy.xml",
    f"ros2 topic echo --once {NODE}/active_prompt std_msgs/msg/String"
    " --qos-durability transient_local --qos-reliability reliable",
    "ros2 topic echo /diagnostics",
    "ros2 topic list -t",
    f"ros2 topic pub --once {NODE}/prompt std_msgs/msg/String \"{{data: 'cup; person; door handle'}}\"",
    "ros2 topic pub --once {node}/prompt std_msgs/msg/String \"{data: 'red cup'}\"",
]


def test_the_list_is_what_is_printed() -> None:
    assert sorted(printed_commands()) == sorted(PRINTED)


@pytest.mark.parametrize("command", PRINTED)
def test_what_is_printed_works(command: str) -> None:
    assert problem_with(command) == ""


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (f"ros2 topic echo --once {NODE}/active_prompt --qos-durability transient_local", "give both"),
        (f"ros2 topic echo {NODE}/answer --qos-reliability reliable", "give both"),
        (f"ros2 topic echo {NODE}/answer --qos-depth 5", "give both"),
        (f"ros2 topic echo {NODE}/answer --qos-reliability best_effort --qos-durability transient_local", "offers"),
        (f"ros2 topic echo {NODE}/detections std_msgs/msg/String", "vision_msgs/msg/Detection2DArray"),
        (f"ros2 topic echo {NODE}/answer --latched", "unrecognized arguments"),
        (f"ros2 topic pub --once {NODE}/prompt std_msgs/String 'red cup'", "std_msgs/msg/String"),
        (f"ros2 topic pub --once {NODE}/prompt std_msgs/msg/String 'red cup'", "one field"),
        (f"ros2 topic pub --once {NODE}/prompt std_msgs/msg/String '{{data: 5}}'", "a text"),
        (f"ros2 topic pub {NODE}/prompt std_msgs/msg/String \"{{data: 'cup'}}\"", "again and again"),
        (f"ros2 param set {NODE} hang_exit_s 30", "30.0"),
        (f"ros2 param set {NODE} max_rate 2.0", "no parameter max_rate"),
        (f"ros2 param set {NODE} timeout_s -1.0", "timeout_s"),
        (f"ros2 param set {NODE} max_pixels", "required"),
        (f"ros2 lifecycle set {NODE} start", "no way start"),
        (f"{LAUNCH} image:=/front/image_raw", "no launch argument image"),
        (f"{LAUNCH} frame_policy:=all", "may not be all"),
        (f"{LAUNCH} --rviz", "no launch argument --rviz"),
        ("ros2 launch vlm_perception robot.launch.yaml", "no launch file"),
        (f"{RUN} doctor", "no command doctor"),
        (f"{RUN} scene_camera seed:=7", "after --ros-args"),
        (f"{RUN} scene_camera --ros-args seed:=7", "rcl does not know"),
        ("ros2 bag play robot", "not recorded"),
    ],
)
def test_what_would_not_work_is_found(command: str, problem: str) -> None:
    assert problem in problem_with(command)


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("say `ros2 node\nlist` or `ros2 launch`", ["ros2 node list", "ros2 launch"]),
        ("ros2 topic list -t | grep Image", ["ros2 topic list -t"]),
        ("$ ros2 run a b \\\n    --ros-args  # why", ["ros2 run a b --ros-args"]),
        ("ros2 param set /n a 'x; y', or z", ["ros2 param set /n a 'x; y'"]),
        ("the ros2 command; /opt/ros2 launch", ["ros2 command"]),
    ],
)
def test_command_lines_are_found_in_texts(text: str, commands: list[str]) -> None:
    assert list(commands_in(text)) == commands
