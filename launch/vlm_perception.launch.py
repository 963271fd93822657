"""Start the perception node, and with scene_camera:=true or rviz:=true what goes with it."""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vlm_perception.processes import ProcessPlan
from vlm_perception.startup import LAUNCH_ARGUMENTS, plan_processes


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in LAUNCH_ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_nodes)])


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in LAUNCH_ARGUMENTS}
    return [node_of(plan) for plan in plan_processes(values)]


def node_of(plan: ProcessPlan) -> Node:
    # Files first, so that what was given as an argument wins. ParameterValue keeps a prompt such as "yes" a string.
    given = {name: ParameterValue(value, value_type=type(value)) for name, value in plan.parameters.items()}
    return Node(
        package=plan.package,
        executable=plan.executable,
        name=plan.name or None,
        namespace=plan.namespace or None,
        parameters=[*plan.parameter_files, *([given] if given else [])],
        remappings=list(plan.remappings),
        arguments=list(plan.arguments),
        ros_arguments=["--log-level", plan.log_level],
        output="screen",
        on_exit=Shutdown(reason=f"{plan.executable} has ended"),
    )
