"""docs/faults.md leads to tests that exist, for every fault there is to be one for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from checkout import ROOT

TESTS = ROOT / "test"
PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
TITLES = ("| fault ", "| what is drawn ", "| --- ")
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(TITLES)]
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
FAULTS = (
    "camera dies and comes back", "size, encoding and `frame_id`", "time jumps back", "use_sim_time", "stamps of zero",
    "1000 prompts a second", "prompt of 10 MB", "1x1 and 8000x6000", "200 Hz", "two nodes of the same name",
    "engine raises", "engine hangs", "binary noise", "disk full", "SIGTERM", "SIGINT", "SIGKILL and restart",
)  # fmt: skip


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = NAMED.findall(row.split("|")[-2])
    assert named
    for file, test in named:
        assert test in functions(TESTS / file), f"{file} has no {test}"


def test_every_fault_of_the_list_has_a_row() -> None:
    first_cells = [row.split("|")[1] for row in ROWS]
    assert [fault for fault in FAULTS if not any(fault in cell for cell in first_cells)] == []


def test_every_test_of_a_fault_is_on_the_page() -> None:
    for path in sorted(TESTS.glob("ros/test_faults_*.py")):
        tests = {name for name in functions(path) if name.startswith("test_")}
        assert tests - {test for _, test in NAMED.findall(PAGE)} == set(), path.name
