"""As robot.launch.xml, in Python: a robot's own launch file that includes the perception node beside its camera."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    video_device = DeclareLaunchArgument("video_device", default_value="/dev/video0", description="The USB camera.")
    camera = Node(
        package="usb_cam",
        executable="usb_cam_node_exe",
        name="usb_cam",
        namespace="front",
        parameters=[{"video_device": LaunchConfiguration("video_device")}],
    )
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("vlm_perception"), "launch", "vlm_perception.launch.py"])
        ),
        launch_arguments={
            "model": "Qwen/Qwen2.5-VL-3B-Instruct",
            "image_topic": "/front/image_raw",
            "prompt": "every person; every open door",
            "max_rate_hz": "2.0",
            "respawn": "true",
            "respawn_delay_s": "5.0",
        }.items(),
    )
    # Launch arguments are global: scoped and without forwarding, the robot's own do not reach the node, nor the other
    # way round.
    perception = GroupAction([included], scoped=True, forwarding=False)
    return LaunchDescription([video_device, camera, perception])
