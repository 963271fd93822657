"""Start the demo: a camera that publishes drawn scenes, and the node on the tiny model."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from vlm_perception.startup.arguments import DEMO_DEFAULTS, DEMO_ENDINGS, ENDING_ARGUMENTS, LAUNCH_ARGUMENTS

ARGUMENTS = (*LAUNCH_ARGUMENTS, *ENDING_ARGUMENTS)
DEFAULTS = {**DEMO_DEFAULTS, **DEMO_ENDINGS}


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=DEFAULTS.get(argument.name, argument.default),
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in ARGUMENTS
    ]
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).with_name("vlm_perception.launch.py"))),
        launch_arguments=[(argument.name, LaunchConfiguration(argument.name)) for argument in ARGUMENTS],
    )
    return LaunchDescription([*declared, included])
