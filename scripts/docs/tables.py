"""Tables of parameters, launch arguments, topics and services, and the parameter file, from their sources."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable

from scripts.docs.topic_notes import described
from vlm_perception.settings import Parameter, parameters
from vlm_perception.startup.arguments import ENDING_ARGUMENTS, LAUNCH_ARGUMENTS

_WIDTH = 99
_CONFIG_HEAD = """\
# Every parameter at its default, made by make docs. Copy this file, change what you need, and pass the copy as
# config_file:=/path/to/copy.yaml (launch) or --params-file (ros2 run). Lines marked (live) can be changed with
# `ros2 param set` while the node runs; the others only while it is unconfigured, and those marked (fixed) not at
# all.
/**:
  ros__parameters:
"""
# The page says it once above the table.
_OF_FILE = "; empty: as in config_file."
_SHORT = {"subscribe": "sub", "publish": "pub", "reply": "srv", "execute": "act"}


def parameter_table() -> str:
    """Return the table of all parameters."""
    return _table(
        ("parameter", "type", "default", "allowed", "live", "what it does"),
        (
            (
                f"`{p.name}`",
                p.kind,
                f"`{json.dumps(p.default)}`",
                f"{p.limits} {p.unit}".strip() if p.limits else "any",
                p.changes,
                p.description,
            )
            for p in parameters()
        ),
    )


def launch_table() -> str:
    """Return the table of all launch arguments."""
    return _table(
        ("argument", "default", "allowed", "what it does"),
        (
            (
                f"`{argument.name}`",
                f"`{argument.default}`" if argument.default else "",
                ", ".join(choice for choice in argument.choices if choice),
                argument.description.replace(_OF_FILE, "."),
            )
            for argument in (*LAUNCH_ARGUMENTS, *ENDING_ARGUMENTS)
        ),
    )


def topic_table() -> str:
    """Return the table of topics, services and actions."""
    return _table(
        ("", "name", "type", "QoS", "what"),
        (
            (
                _SHORT[use.access],
                f"`{use.name}`",
                use.kind.replace("/msg/", "/").replace("/srv/", "/").replace("/action/", "/"),
                note.qos,
                note.text,
            )
            for use, note in described()
        ),
    )


def config_yaml() -> str:
    """Return config/vlm_perception.yaml: every parameter at its default, with a comment."""
    lines = []
    for parameter in parameters():
        lines += textwrap.wrap(_comment(parameter), _WIDTH, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {parameter.name}: {json.dumps(parameter.default)}")
    return _CONFIG_HEAD + "\n".join(lines) + "\n"


def _comment(parameter: Parameter) -> str:
    allowed = f"Allowed: {parameter.limits} {parameter.unit}".rstrip() + "." if parameter.limits else ""
    mark = "(live)" if parameter.live else "(fixed)" if parameter.fixed else ""
    return " ".join(part for part in (parameter.description, allowed, mark) if part)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (" | ".join(cells) for cells in (head, ("---",) * len(head), *rows))
    return "".join(f"| {line} |\n" for line in lines)
