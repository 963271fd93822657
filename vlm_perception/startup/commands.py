"""The installed commands. Each enters the environment that holds torch before it imports anything else.

`python -m vlm_perception.startup.commands COMMAND ...` runs any of them without an installed script.
"""

from __future__ import annotations

import importlib
import sys

from vlm_perception.startup.environment import check_environment, enter_environment
from vlm_perception.startup.processes import hear_interrupts

# Command name to the module whose main() it runs; setup.py makes the console scripts from the functions below.
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
# What a shell reports of a process that SIGINT has ended.
INTERRUPTED = 130
# Whatever is missing, they have to say so themselves.
RUN_ANYWHERE = ("vlm-perception-doctor",)
# A batch that a script has put in the background goes on when Ctrl-C ends the script.
STAYS_IN_THE_BACKGROUND = ("vlm-detect",)


def run(command: str) -> int:
    """Run one command of `COMMANDS` with the arguments of this process and return its exit code.

    With `--check-environment` it says instead what it found, imports the heavy packages and ends.
    """
    if command not in STAYS_IN_THE_BACKGROUND:
        hear_interrupts()
    enter_environment(required=command not in RUN_ANYWHERE)
    if "--check-environment" in sys.argv[1:]:
        return check_environment()
    try:
        return int(importlib.import_module(COMMANDS[command]).main() or 0)
    except KeyboardInterrupt:
        # Before it listens to signals itself: most of the time of a start goes into imports.
        return INTERRUPTED


def vlm_perception_node() -> int:
    """Run the perception node."""
    return run("vlm_perception_node")


def scene_camera() -> int:
    """Run the camera that publishes drawn scenes with their truth."""
    return run("scene_camera")


def file_camera() -> int:
    """Run the camera that publishes an image, a folder or a video."""
    return run("file_camera")


def vlm_perception_run() -> int:
    """Start the node and what goes with it, without ROS launch."""
    return run("vlm-perception-run")


def vlm_perception_demo() -> int:
    """Run the demo."""
    return run("vlm-perception-demo")


def vlm_detect() -> int:
    """Ask about images and videos; needs no ROS."""
    return run("vlm-detect")


def vlm_perception_ui() -> int:
    """Serve the web page; needs no ROS."""
    return run("vlm-perception-ui")


def vlm_perception_doctor() -> int:
    """Check the installation and a running graph; needs nothing but Python."""
    return run("vlm-perception-doctor")


def main() -> int:
    """Run the command named by the first argument."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"usage: python -m vlm_perception.startup.commands {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
        return 2
    return run(sys.argv.pop(1))


if __name__ == "__main__":
    sys.exit(main())
