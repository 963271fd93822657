"""The installed commands. Each enters the environment that holds torch before it imports anything else.

`python -m vlm_perception.startup.commands COMMAND ...` runs any of them without an installed script.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from vlm_perception.startup.environment import check_environment, enter_environment
from vlm_perception.startup.processes import hear_interrupts

# Command name to the module whose main() it runs; setup.py makes a console script of each.
COMMANDS = {
    "vlm_perception_node": "vlm_perception.ros.node",
    "scene_camera": "vlm_perception.apps.cameras.scene_camera",
    "file_camera": "vlm_perception.apps.cameras.file_camera",
    "vlm-perception-run": "vlm_perception.startup.arguments",
    "vlm-perception-demo": "vlm_perception.apps.demo.demo",
    "vlm-detect": "vlm_perception.apps.detect.command",
    "vlm-perception-ui": "vlm_perception.apps.web.app",
    "vlm-perception-doctor": "vlm_perception.apps.doctor.command",
}
# Started by launch files alone, and no console scripts.
INNER_COMMANDS = {"rviz": "vlm_perception.apps.rviz.rviz"}
# What a shell reports of a process that SIGINT has ended.
INTERRUPTED = 130
# Whatever is missing, they have to say so themselves.
RUN_ANYWHERE = ("vlm-perception-doctor",)
# A batch that a script has put in the background goes on when Ctrl-C ends the script.
STAYS_IN_THE_BACKGROUND = ("vlm-detect",)


def run(command: str) -> int:
    """Run one command of `COMMANDS` or `INNER_COMMANDS` with the arguments of this process and return its exit code.

    With `--check-environment` it says instead what it found, imports the heavy packages and ends.
    """
    if command not in STAYS_IN_THE_BACKGROUND:
        hear_interrupts()
    enter_environment(required=command not in RUN_ANYWHERE)
    if "--check-environment" in sys.argv[1:]:
        return check_environment()
    try:
        return int(importlib.import_module({**COMMANDS, **INNER_COMMANDS}[command]).main() or 0)
    except KeyboardInterrupt:
        # Before it listens to signals itself: most of the time of a start goes into imports.
        return INTERRUPTED


def main() -> int:
    """Run the command that the process was started as, or else the one named by the first argument."""
    if (started_as := Path(sys.argv[0]).name) in COMMANDS:
        return run(started_as)
    if len(sys.argv) < 2 or sys.argv[1] not in {**COMMANDS, **INNER_COMMANDS}:
        print(f"usage: python -m vlm_perception.startup.commands {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
        return 2
    return run(sys.argv.pop(1))


if __name__ == "__main__":
    sys.exit(main())
