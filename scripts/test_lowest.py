#!/usr/bin/env python3
"""Run the tests with the lowest versions that the requirements allow, in an environment of its own.

The bounds are promises; this keeps the lower ones. Further arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-lowest"
# Training is a tool of ours, tried with the newest releases only.
TESTS = ["test/unit", "test/model", "test/ros", "test/packaging", "test/web"]
BOUNDED = ("requirements.txt", "requirements-ui.txt")
CONSTRAINTS = ROOT / "build" / "lowest.txt"


def lowest_pins(text: str) -> list[str]:
    """Turn `name>=low,<=high` lines into `name==low`."""
    pins = []
    for line in text.splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement:
            name, _, bounds = requirement.partition(">=")
            pins.append(f"{name.strip()}=={bounds.split(',')[0].strip()}")
    return pins


def main() -> int:
    """Set up the environment and run pytest in it; return its exit code."""
    pins = [pin for name in BOUNDED for pin in lowest_pins((ROOT / name).read_text(encoding="utf-8"))]
    print("\n".join(pins), flush=True)
    CONSTRAINTS.parent.mkdir(exist_ok=True)
    CONSTRAINTS.write_text("\n".join(pins) + "\n", encoding="utf-8")
    set_up = [sys.executable, str(ROOT / "scripts" / "bootstrap.py"), "--dev", "--venv", str(VENV)]
    done = subprocess.run(set_up, env={**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS)}, check=False)
    if done.returncode != 0:
        return done.returncode
    # Other people's warnings are errors only with the versions the filters were written for.
    pytest = [str(VENV / "bin" / "python"), "-m", "pytest", "-W", "default", *(sys.argv[1:] or TESTS)]
    return subprocess.run(pytest, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
