"""Print the line coverage of each room of the package from coverage.py's JSON: `coverage_by_room.py FILE`.

Processes that tests start are not in it, so commands are covered better than the figures say.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

PACKAGE = "vlm_perception"


def room_of(name: str) -> str:
    """Name the folder that a file lies in; each of the apps is a room of its own."""
    parts = Path(name).parts
    folders = parts[parts.index(PACKAGE) + 1 : -1]
    return "/".join(folders[: 2 if folders[:1] == ("apps",) else 1]) or "(beside the rooms)"


def main() -> None:
    """Command line."""
    statements: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for name, file in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["files"].items():
        statements[room_of(name)] += file["summary"]["num_statements"]
        covered[room_of(name)] += file["summary"]["covered_lines"]
    print("| room | statements | run | share |\n| --- | --- | --- | --- |")
    for room in sorted(room for room in statements if statements[room]):
        print(f"| {room} | {statements[room]} | {covered[room]} | {covered[room] / statements[room]:.1%} |")


if __name__ == "__main__":
    main()
