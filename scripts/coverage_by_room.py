"""Print the line coverage of each part of the package from coverage.py's JSON: `coverage_by_room.py FILE`.

Processes that tests start are not in it, so commands are covered better than the figures say.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

ROOMS = ("engines", "ros", "exports", "web", "doctor", "scenes")
PURE = "pure core"


def by_room(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, tuple[int, int]]:
    """Add up statements and those that ran, by folder of the package."""
    statements: Counter[str] = Counter()
    covered: Counter[str] = Counter()
    for name, file in report["files"].items():
        parts = Path(name).parts
        folder = parts[parts.index("vlm_perception") + 1]
        room = folder if folder in ROOMS else PURE
        statements[room] += file["summary"]["num_statements"]
        covered[room] += file["summary"]["covered_lines"]
    return {room: (covered[room], statements[room]) for room in (PURE, *ROOMS) if statements[room]}


def main() -> None:
    """Command line."""
    print("| part | statements | run | share |\n| --- | --- | --- | --- |")
    for room, (covered, statements) in by_room(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).items():
        print(f"| {room} | {statements} | {covered} | {covered / statements:.1%} |")


if __name__ == "__main__":
    main()
