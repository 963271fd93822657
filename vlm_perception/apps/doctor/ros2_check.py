"""The doctor's checks as a part of `ros2 doctor`, which finds them by the entry point `ros2doctor.checks`.

`ros2 doctor` runs under the system's Python, which may not see the environment that holds torch. So the doctor is
started as a command, which enters that environment, and its JSON is read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

_COMMAND = ("-m", "vlm_perception.startup.commands", "vlm-perception-doctor", "--json")


@dataclass
class CheckResult:
    """What `ros2 doctor` reads of a check: how many errors and warnings there are."""

    error: int = 0
    warning: int = 0


class VlmPerceptionCheck:
    """One check of `ros2 doctor`; everything that is not well has a line on stderr.

    Args:
        command: Prints the doctor's JSON; by default the doctor itself.
    """

    def __init__(self, command: tuple[str, ...] = (sys.executable, *_COMMAND)) -> None:
        self._command = command

    def category(self) -> str:
        """Name this check in `ros2 doctor`'s list of what failed."""
        return "vlm_perception"

    def check(self) -> CheckResult:
        """Run the doctor and count what it found; what it could not look at counts as a warning."""
        done = subprocess.run(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
        try:
            findings = json.loads(done.stdout)["findings"]
        except (ValueError, KeyError, TypeError):
            _say(f"the doctor ended with exit code {done.returncode} and without a report")
            return CheckResult(warning=1)
        result = CheckResult()
        for finding in findings:
            if finding["level"] == "OK":
                continue
            _say(f"{finding['level']} {finding['title']}: {finding['detail']} -> {finding['remedy']}")
            if finding["level"] == "ERROR":
                result.error += 1
            else:
                result.warning += 1
        return result


def _say(text: str) -> None:
    print(f"vlm_perception: {' '.join(text.split())}", file=sys.stderr, flush=True)
