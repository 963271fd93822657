"""The installed commands. Each enters the environment that holds torch before it imports anything else.

`python -m vlm_perception.startup.commands COMMAND ...` runs any of them without an installed script.
"""

from __future__ import annotations

# Nothing else here: until `main` listens for it, Ctrl-C ends an import in a traceback.
import importlib
import os
import signal
import sys

# Command name to the module whose main() it runs; setup.py makes a console script of each.
COMMANDS = {
    "vlm_perception_node": "vlm_perception.ros.node",
    "scene_camera": "vlm_perception.apps.cameras.scene_camera",
    "file_camera": "vlm_perception.apps.cameras.file_camera",
    "vlm-perception-run": "vlm_perception.startup.arguments",
    "vlm-perception-demo": "vlm_perception.apps.demo.demo",
    "vlm-detect": "vlm_perception.apps.detect.command",
    "vlm-perception-evaluate": "vlm_perception.apps.evaluate.command",
    "vlm-perception-memory": "vlm_perception.apps.memory.command",
    "vlm-perception-ui": "vlm_perception.apps.web.app",
    "vlm-perception-doctor": "vlm_perception.apps.doctor.command",
}
# Started by launch files alone, and no console scripts.
INNER_COMMANDS = {"rviz": "vlm_perception.apps.rviz.rviz"}
# What a shell reports of a process that SIGINT has ended.
INTERRUPTED = 130
# These have children to end when they are interrupted, from the first line of their main on.
END_THEIR_CHILDREN = ("vlm-perception-doctor", "vlm-perception-demo")
# Whatever is missing, they have to say so themselves.
RUN_ANYWHERE = ("vlm-perception-doctor",)
# A batch that a script has put in the background goes on when Ctrl-C ends the script.
STAYS_IN_THE_BACKGROUND = ("vlm-detect", "vlm-perception-evaluate")


def run(command: str) -> int:
    """Run one command of `COMMANDS` or `INNER_COMMANDS` with the arguments of this process and return its exit code.

    With `--check-environment` it says instead what it found, imports the heavy packages and ends.
    """
    from vlm_perception.startup.environment import check_environment, enter_environment
    from vlm_perception.startup.processes import hear_interrupts

    if command not in STAYS_IN_THE_BACKGROUND:
        hear_interrupts()
    try:
        enter_environment(required=command not in RUN_ANYWHERE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if "--check-environment" in sys.argv[1:]:
            return check_environment()
        module = importlib.import_module({**COMMANDS, **INNER_COMMANDS}[command])
        if command in END_THEIR_CHILDREN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return int(module.main() or 0)
    except KeyboardInterrupt:
        return INTERRUPTED


def main() -> int:
    """Run the command that the process was started as, or else the one named by the first argument."""
    command = os.path.basename(sys.argv[0])
    if command not in COMMANDS:
        if len(sys.argv) < 2 or sys.argv[1] not in {**COMMANDS, **INNER_COMMANDS}:
            print(f"usage: python -m vlm_perception.startup.commands {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
            return 2
        command = sys.argv.pop(1)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN or command not in STAYS_IN_THE_BACKGROUND:
        signal.signal(signal.SIGINT, _leave)
    # Kept for later until the environment is entered, which may start Python again: one that is only just starting
    # could not but end in a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return run(command)


def _leave(number: int, frame: object) -> None:
    """End without a word, until a command listens to signals itself: nothing is there yet that had to be closed.

    No exception: one that is raised inside an import may be told in a traceback and lost, and the start would go on.
    """
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
