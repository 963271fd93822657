"""Runs Python in a child process: what cannot be imported, crashes or hangs there is told, and harms nobody here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Importing torch from a slow card takes a minute; only a hang takes longer.
TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Probe:
    """What a child process told.

    Attributes:
        facts: The JSON object it printed as its last line; empty when it failed.
        problem: Why it failed, one line; empty when it did not.
        unseen: Whether nothing is known for that: it took too long, was killed, or could not be started.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    unseen: bool = False


def run_python(
    arguments: Sequence[str], environ: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Probe:
    """Run the Python of this process.

    Args:
        arguments: After the interpreter: `-c CODE` or `-m MODULE ...`. The last line that it prints is a JSON object.
        environ: Variables set beside those of this process.
        timeout_s: It is killed when it takes longer.
    """
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probe(problem=f"it did not end within {timeout_s:.0f} s", unseen=True)
    except OSError as error:
        return Probe(problem=f"a process for it could not be started: {error}", unseen=True)
    if done.returncode == -signal.SIGKILL:
        return Probe(problem="it was killed, as by a system that runs out of memory", unseen=True)
    if done.returncode < 0:
        return Probe(problem=f"it crashed with {signal.Signals(-done.returncode).name}{_last_line(done.stderr, ': ')}")
    if done.returncode > 0:
        return Probe(problem=_last_line(done.stderr) or f"it ended with exit code {done.returncode}")
    try:
        facts = json.loads(_last_line(done.stdout))
    except ValueError:
        facts = None
    return Probe(facts) if isinstance(facts, dict) else Probe(problem="it ended without an answer")


def _last_line(text: str, before: str = "") -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return before + lines[-1] if lines else ""
