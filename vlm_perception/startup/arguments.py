"""What to start and with which arguments, written once for `ros2 launch` and for `vlm-perception-run`.

Standard library only: a launch file is read by the system's Python, which may not see the environment that holds
torch. `launch/*.launch.py` declare `LAUNCH_ARGUMENTS` and turn each `ProcessPlan` into a launch_ros `Node`; `main`
below reads the same arguments with argparse and runs the same plans as plain processes.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm_perception.startup.processes import PACKAGE, ParameterValue, Processes, ProcessPlan

TINY_MODEL = "tiny"
BOOLEANS = ("true", "false")
# An argument that sets a parameter may be left out; the file's value counts then.
OPTIONAL_BOOLEANS = ("", *BOOLEANS)


class StartupError(Exception):
    """A start-up argument that cannot be used; the text names value, limit and remedy."""


@dataclass(frozen=True)
class LaunchArgument:
    """One argument of the launch files and of `vlm-perception-run`.

    Attributes:
        name: As in `name:=value`; the command line spells it `--name` with dashes.
        default: Text that stands for "not given"; an empty one leaves the value to the parameter file.
        description: One sentence for people.
        choices: Allowed values; empty when any goes.
        kind: Type of the node parameter of the same name that it sets, or None when it sets none.
    """

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    kind: type[str] | type[int] | type[float] | type[bool] | None = None


LAUNCH_ARGUMENTS = (
    LaunchArgument(
        "model",
        "",
        "Hub id or local folder of a Qwen2.5-VL, Qwen3-VL or Qwen3.5 checkpoint, URL of a server, or tiny; "
        "empty: as in config_file.",
        kind=str,
    ),
    LaunchArgument(
        "device", "", "Where the model runs: auto, cpu, cuda, cuda:N or mps; empty: as in config_file.", kind=str
    ),
    LaunchArgument(
        "prompt", "", "What to look for from the start; empty: as in config_file, or wait for ~/prompt.", kind=str
    ),
    LaunchArgument("image_topic", "image", "Camera topic to subscribe to; left at image with scene_camera: that one."),
    LaunchArgument(
        "depth_topic", "", "Depth aligned to the camera's images, for places in space; empty: as in config_file."
    ),
    LaunchArgument(
        "target_frame",
        "",
        "Frame of the places, such as map, by /tf; empty: as in config_file, or the camera's own.",
        kind=str,
    ),
    LaunchArgument(
        "memory_file", "", "File in which places of things are remembered; empty: as in config_file, or none.", kind=str
    ),
    LaunchArgument(
        "image_transport",
        "",
        "raw for sensor_msgs/Image, compressed for CompressedImage; empty: as in config_file.",
        ("", "raw", "compressed"),
        kind=str,
    ),
    LaunchArgument(
        "max_rate_hz", "", "Most frames handed to the model per second; empty: as in config_file.", kind=float
    ),
    LaunchArgument(
        "max_pixels", "", "Images are shrunk to at most this area in pixels; empty: as in config_file.", kind=int
    ),
    LaunchArgument(
        "frame_policy",
        "",
        "newest, every (for bags) or on_demand; empty: as in config_file.",
        ("", "newest", "every", "on_demand"),
        kind=str,
    ),
    LaunchArgument("timeout_s", "", "Longest time for one answer, seconds; empty: as in config_file.", kind=float),
    LaunchArgument(
        "autostart",
        "",
        "false leaves configuring and activating to a lifecycle manager; empty: as in config_file.",
        OPTIONAL_BOOLEANS,
        kind=bool,
    ),
    LaunchArgument(
        "use_sim_time",
        "",
        "true takes the time of /clock, for simulations and bags; empty: as in config_file.",
        OPTIONAL_BOOLEANS,
        kind=bool,
    ),
    LaunchArgument("namespace", "", "Namespace of every node that is started; empty: the root or the launch group's."),
    LaunchArgument("config_file", "", "Parameter file; empty: the config/vlm_perception.yaml of the package."),
    LaunchArgument("scene_camera", "false", "Also start a camera that publishes drawn scenes.", BOOLEANS),
    LaunchArgument("rviz", "false", "Also start RViz 2 with a picture of each camera, and places in space.", BOOLEANS),
    LaunchArgument(
        "log_level",
        "info",
        "Least severe log lines that are shown; debug: of the nodes of this package alone, a line for each answer.",
        ("debug", "info", "warn", "error", "fatal"),
    ),
)

# What `ros2 launch` does when a process ends; `vlm-perception-run` ends the others always.
ENDING_ARGUMENTS = (
    LaunchArgument("respawn", "false", "Start a process of this package again when it ends.", BOOLEANS),
    LaunchArgument("respawn_delay_s", "2.0", "Seconds between its end and its new start."),
    LaunchArgument(
        "exit_ends_launch",
        "false",
        "End the whole launch when a process ends that is not started again; false leaves the rest of a robot running.",
        BOOLEANS,
    ),
)
# The demo is a launch of its own.
DEMO_ENDINGS = {"exit_ends_launch": "true"}
# What the demo sets differently; everything else is as above.
DEMO_DEFAULTS = {"model": TINY_MODEL, "prompt": "all objects", "scene_camera": "true"}
SCENE_CAMERA_TOPIC = "scene_camera/image"


@dataclass(frozen=True)
class Ending:
    """What happens when a process ends.

    Attributes:
        respawn: It is started again.
        respawn_delay_s: After this time.
        ends_launch: The launch ends with it.
    """

    respawn: bool
    respawn_delay_s: float
    ends_launch: bool


def share_directory() -> Path:
    """Return the folder that holds config/, models/ and rviz/: the checkout or the installed share folder.

    Raises:
        StartupError: It cannot be found.
    """
    package = Path(__file__).resolve().parents[1]
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    prefixes += [package.parents[i] for i in range(3, 5) if len(package.parents) > i]
    prefixes.append(Path(sysconfig.get_path("data")))
    places = [package.parent, *(prefix / "share" / PACKAGE for prefix in prefixes)]
    for place in places:
        if (place / "package.xml").is_file() and (place / "config").is_dir():
            return place
    tried = ", ".join(map(str, places))
    raise StartupError(f"the files of {PACKAGE} were not found in {tried}. Remedy: source the workspace's setup file")


def resolve_model(model: str) -> str:
    """Return the model as the engine takes it: `tiny`, or `tiny-` with a family, becomes the folder in the package."""
    if model == TINY_MODEL:
        return str(share_directory() / "models" / TINY_MODEL)
    if not model.startswith(f"{TINY_MODEL}-") or not model.replace("-", "").isalnum():
        return model
    shipped = share_directory() / "models" / model
    return str(shipped) if shipped.is_dir() else model


def plan_processes(values: Mapping[str, str]) -> tuple[ProcessPlan, ...]:
    """Turn argument values into the processes to start, the perception node first.

    Args:
        values: Argument name to text; what is left out keeps its default.

    Returns:
        The plans; RViz is left out, with a line on stderr, where it is not installed.

    Raises:
        StartupError: An unknown argument, a value that is not allowed, or a file that does not exist.
    """
    chosen = _checked(values)
    if chosen["scene_camera"] == "true" and chosen["image_topic"] == "image":
        # Whoever starts the camera wants to see it.
        chosen["image_topic"] = SCENE_CAMERA_TOPIC
    config_file = Path(chosen["config_file"] or share_directory() / "config" / "vlm_perception.yaml").expanduser()
    if not config_file.is_file():
        raise StartupError(f"config_file {config_file} is not a file. Remedy: name an existing parameter file")
    namespace, log_level = chosen["namespace"], chosen["log_level"]
    node = ProcessPlan(
        "vlm_perception_node",
        name="vlm_perception",
        namespace=namespace,
        log_level=log_level,
        parameter_files=(str(config_file),),
        parameters=_parameters(chosen),
        remappings=() if chosen["image_topic"] == "image" else (("image", chosen["image_topic"]),),
    )
    plans = [node]
    if chosen["scene_camera"] == "true":
        plans.append(ProcessPlan("scene_camera", name="scene_camera", namespace=namespace, log_level=log_level))
    if chosen["rviz"] == "true":
        plans += _rviz_plan(chosen, node.remappings)
    return tuple(plans)


def ending_of(plan: ProcessPlan, values: Mapping[str, str]) -> Ending:
    """Return what happens when a process ends; RViz is never started again, because people close it.

    Args:
        plan: The process.
        values: Text of each of `ENDING_ARGUMENTS`.

    Raises:
        StartupError: The delay is no number of seconds.
    """
    text = values["respawn_delay_s"]
    try:
        delay_s = float(text)
    except ValueError:
        delay_s = math.nan
    if not 0.0 <= delay_s < math.inf:
        raise StartupError(f"respawn_delay_s is {text!r}, allowed: 0 or more seconds. Remedy: give such a number")
    respawn = values["respawn"] == "true" and plan.package == PACKAGE
    return Ending(respawn, delay_s, values["exit_ends_launch"] == "true" and not respawn)


def argument_parser(defaults: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the command-line form of `LAUNCH_ARGUMENTS`, with some defaults replaced."""
    parser = argparse.ArgumentParser(prog="vlm-perception-run", description="Start vlm_perception without ROS launch.")
    parser.add_argument("--demo", action="store_true", help="tiny model and drawn camera, as launch/demo.launch.py")
    for argument in LAUNCH_ARGUMENTS:
        parser.add_argument(
            f"--{argument.name.replace('_', '-')}",
            default=defaults.get(argument.name, argument.default),
            choices=argument.choices or None,
            help=argument.description.replace("%", "%%") + " (default: %(default)r)",
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Start the processes and wait; SIGINT and SIGTERM are passed on to them.

    Returns:
        0 after a clean stop, 2 for a wrong argument, else the exit code of the process that failed.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    chosen = vars(argument_parser(DEMO_DEFAULTS if "--demo" in given else {}).parse_args(given))
    chosen.pop("demo")
    try:
        plans = plan_processes(chosen)
    except StartupError as error:
        print(f"vlm-perception-run: {error}", file=sys.stderr)
        return 2
    return Processes([plan.command() for plan in plans]).run()


def _checked(values: Mapping[str, str]) -> dict[str, str]:
    known = {argument.name: argument for argument in LAUNCH_ARGUMENTS}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise StartupError(f"unknown argument {', '.join(unknown)}. Remedy: use one of {', '.join(known)}")
    chosen = {name: values.get(name, argument.default) for name, argument in known.items()}
    for name, text in chosen.items():
        choices = known[name].choices
        if choices and text not in choices:
            allowed = ", ".join(choice or "(empty)" for choice in choices)
            raise StartupError(f"{name} is {text!r}, allowed: {allowed}. Remedy: give one of these")
    return chosen


def _parameters(chosen: Mapping[str, str]) -> dict[str, ParameterValue]:
    """Return the node parameters that were given, each in its own type."""
    parameters: dict[str, ParameterValue] = {}
    for argument in LAUNCH_ARGUMENTS:
        text = chosen[argument.name]
        if argument.kind is None or text == "":
            continue
        try:
            # bool("false") is true; _checked has let nothing but the two words through.
            parameters[argument.name] = text == "true" if argument.kind is bool else argument.kind(text)
        except ValueError:
            raise StartupError(
                f"{argument.name} is {text!r}, which is not of type {argument.kind.__name__}. Remedy: give a number"
            ) from None
    if chosen["depth_topic"]:
        parameters["depth_topics"] = [chosen["depth_topic"]]
    if "model" in parameters:
        parameters["model"] = resolve_model(str(parameters["model"]))
    return parameters


def _rviz_plan(chosen: Mapping[str, str], remappings: tuple[tuple[str, str], ...]) -> list[ProcessPlan]:
    if shutil.which("rviz2") is None:
        print("vlm-perception: rviz2 is not installed, going on without it", file=sys.stderr)
        return []
    # A program of ours that asks the node for its cameras and then becomes RViz; it needs the environment of the node.
    return [
        ProcessPlan(
            sys.executable,
            package="",
            namespace=chosen["namespace"],
            arguments=("-m", "vlm_perception.startup.commands", "rviz"),
            remappings=remappings,
            log_level=chosen["log_level"],
        )
    ]
