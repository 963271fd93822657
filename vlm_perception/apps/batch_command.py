"""What commands have in common that work through files: where their words go, and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TextIO

from vlm_perception.errors import VlmPerceptionError
from vlm_perception.startup.arguments import StartupError

_CLOSED_PIPE, _INTERRUPTED = 141, 130


def run_batch(program: str, work: Callable[[TextIO], int]) -> int:
    """Do the work of a command.

    Args:
        program: Begins its lines on stderr.
        work: Is given stdout, on which nothing but results may stand, and returns the exit code.

    Returns:
        The exit code of the work; 2 after an error that is told in one line, 130 after Ctrl-C, and 141 when nobody
        reads the output any more.
    """
    # OpenCV writes to stderr about files that we report on ourselves; read when it is imported.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    stdout = sys.stdout
    try:
        # What any library prints must not come between the results.
        with redirect_stdout(sys.stderr):
            return work(stdout)
    except (VlmPerceptionError, StartupError) as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        _drop_unwritable(stdout)
        return 2
    except BrokenPipeError:
        _drop_unwritable(stdout)
        return _CLOSED_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _drop_unwritable(stdout: TextIO) -> None:
    """Let what cannot be written go nowhere, so that the flush at the end of the process does not fail again."""
    try:
        stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
