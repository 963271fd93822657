"""The table of launch arguments in docs/robot.md, written from their source: `python -m scripts.docs.launch`."""

from __future__ import annotations

from scripts.docs.pages import ROOT, rewrite
from vlm_perception.startup.arguments import LAUNCH_ARGUMENTS
from vlm_perception.startup.endings import ENDING_ARGUMENTS

MADE_BY = "python -m scripts.docs.launch"
BLOCK = "launch arguments"


def table() -> str:
    """Return the table of all launch arguments."""
    rows = ["| argument | default | allowed | what it does |", "| --- | --- | --- | --- |"]
    for argument in (*LAUNCH_ARGUMENTS, *ENDING_ARGUMENTS):
        default = f"`{argument.default}`" if argument.default else ""
        allowed = ", ".join(choice for choice in argument.choices if choice)
        rows.append(f"| `{argument.name}` | {default} | {allowed} | {argument.description} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the page."""
    rewrite(ROOT / "docs" / "robot.md", BLOCK, MADE_BY, table())


if __name__ == "__main__":
    main()
