"""docs/troubleshooting.md explains every counter of `/diagnostics`, and nothing that is none."""

from __future__ import annotations

import re

from checkout import ROOT

from vlm_perception.types import DropCause

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "vlm_perception"


def first_column(heading: str) -> set[str]:
    """The names in the first column of the table with this heading."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def image_causes() -> set[str]:
    sources = "".join((PACKAGE / name).read_text() for name in ("frames/encodings.py", "frames/compressed.py"))
    return set(re.findall(r'cause="(\w+)"', sources))


def test_every_cause_of_a_dropped_frame_is_explained() -> None:
    assert first_column("dropped") == {cause.value for cause in DropCause} | image_causes() - {"unencodable"}


def test_every_kind_of_error_is_explained() -> None:
    sources = "".join(path.read_text() for path in (PACKAGE / "ros").rglob("*.py"))
    counted = set(re.findall(r'count_error\("(\w+)"', sources))
    # The only image that is written; its cause is counted as it comes.
    assert first_column("error") == counted | {"unencodable"} & image_causes()
