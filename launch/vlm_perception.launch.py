"""Start the perception node, and with scene_camera:=true or rviz:=true what goes with it."""

from collections.abc import Sequence

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vlm_perception.startup.arguments import (
    ENDING_ARGUMENTS,
    LAUNCH_ARGUMENTS,
    Ending,
    LaunchArgument,
    ending_of,
    plan_processes,
)
from vlm_perception.startup.processes import ProcessPlan


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in (*LAUNCH_ARGUMENTS, *ENDING_ARGUMENTS)
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_nodes)])


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    endings = given(context, ENDING_ARGUMENTS)
    # What push_ros_namespace has set; the name of the node's logger begins with it.
    pushed = LaunchConfiguration("ros_namespace", default="").perform(context)
    plans = plan_processes(given(context, LAUNCH_ARGUMENTS))
    return [node_of(plan, ending_of(plan, endings), plan.log_arguments(pushed)) for plan in plans]


def given(context: LaunchContext, arguments: Sequence[LaunchArgument]) -> dict[str, str]:
    return {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments}


def node_of(plan: ProcessPlan, ending: Ending, log_arguments: list[str]) -> Node:
    # Files first, so that what was given as an argument wins. ParameterValue keeps a prompt such as "yes" a string.
    parameters = {
        name: value if isinstance(value, list) else ParameterValue(value, value_type=type(value))
        for name, value in plan.parameters.items()
    }
    return Node(
        package=plan.package or None,
        executable=plan.executable,
        name=plan.name or None,
        namespace=plan.namespace or None,
        parameters=[*plan.parameter_files, *([parameters] if parameters else [])],
        remappings=list(plan.remappings),
        arguments=list(plan.arguments),
        ros_arguments=log_arguments,
        output="screen",
        respawn=ending.respawn,
        respawn_delay=ending.respawn_delay_s,
        on_exit=Shutdown(reason=f"{plan.executable} has ended") if ending.ends_launch else None,
    )
