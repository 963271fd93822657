"""README table, configuration file and documentation page of the parameters, written from their source.

`python -m scripts.docs.parameters` in a checkout writes all of them anew; tests hold them to it.
"""

from __future__ import annotations

import json
import textwrap

from scripts.docs.pages import ROOT, rewrite, with_block
from vlm_perception.settings import parameters
from vlm_perception.settings_parameter import Parameter

_WIDTH = 99
_CONFIG_HEAD = """\
# Every parameter at its default, made by python -m scripts.docs.parameters. Copy this file, change what you
# need, and pass the copy as config_file:=/path/to/copy.yaml (launch) or --params-file (ros2 run). Lines marked
# (live) can be changed with `ros2 param set` while the node runs; the others only while it is unconfigured, and
# those marked (fixed) not at all.
/**:
  ros__parameters:
"""
_MADE_BY = "python -m scripts.docs.parameters"


def markdown_table() -> str:
    """Return the parameter table of the README and of docs/parameters.md."""
    rows = ["| parameter | type | default | allowed | live | what it does |"]
    rows.append("| --- | --- | --- | --- | --- | --- |")
    for p in parameters():
        default, allowed = f"`{json.dumps(p.default)}`", f"{p.limits} {p.unit}".strip() if p.limits else "any"
        rows.append(f"| `{p.name}` | {p.kind} | {default} | {allowed} | {p.changes} | {p.description} |")
    return "\n".join(rows) + "\n"


def config_yaml() -> str:
    """Return config/vlm_perception.yaml: every parameter at its default, with a comment."""
    lines = []
    for parameter in parameters():
        lines += textwrap.wrap(_comment(parameter), _WIDTH, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {parameter.name}: {json.dumps(parameter.default)}")
    return _CONFIG_HEAD + "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return a page with the table between its marks written anew.

    Raises:
        ValueError: The page has no marks.
    """
    return with_block(page, "parameters", _MADE_BY, markdown_table())


def _comment(parameter: Parameter) -> str:
    allowed = f"Allowed: {parameter.limits} {parameter.unit}".rstrip() + "." if parameter.limits else ""
    mark = "(live)" if parameter.live else "(fixed)" if parameter.fixed else ""
    return " ".join(part for part in (parameter.description, allowed, mark) if part)


def main() -> None:
    """Write every page that holds parameters."""
    (ROOT / "config" / "vlm_perception.yaml").write_text(config_yaml(), encoding="utf-8")
    for name in ("README.md", "docs/parameters.md"):
        rewrite(ROOT / name, "parameters", _MADE_BY, markdown_table())


if __name__ == "__main__":
    main()
