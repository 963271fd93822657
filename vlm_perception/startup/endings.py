"""What `ros2 launch` does when a process ends, for the launch files; `vlm-perception-run` ends the others always.

Standard library only, as `startup/arguments.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vlm_perception.startup.arguments import BOOLEANS, LaunchArgument, StartupError
from vlm_perception.startup.processes import PACKAGE, ProcessPlan

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
