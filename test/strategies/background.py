"""Commands as a shell starts them in the background: with SIGINT ignored."""

from __future__ import annotations

from collections.abc import Sequence


def in_background(command: Sequence[object]) -> list[str]:
    """Return the command line that starts a command as `nohup COMMAND &` in a script does."""
    return ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *map(str, command)]
