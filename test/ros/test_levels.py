"""The rows of the levels with the real tiny model: sentence and camera frame in, checked messages out, over real DDS.

level_seeds.json names a scene of each row and language that models/tiny answers mostly; rows that it was not taught are
not there. After the checkpoint has changed, choose them again (minutes):

    python -m benchmarks.levels --write test/ros/level_seeds.json
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

SEEDS_FILE = Path(__file__).with_name("level_seeds.json")
SEEDS: dict[str, dict[str, int]] = json.loads(SEEDS_FILE.read_text(encoding="utf-8"))
CASES = [(row, language) for row, of_row in SEEDS.items() for language in of_row]
Figures = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """One run of the benchmark, with one node, for all rows."""
    folder = tmp_path_factory.mktemp("levels")
    output = folder / "levels.json"
    command = [sys.executable, "-m", "benchmarks.levels", "--seeds", str(SEEDS_FILE), "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert output.exists(), done.stdout + done.stderr
    return {(each["row"], each["language"]): each for each in json.loads(output.read_text(encoding="utf-8"))["rows"]}


@pytest.mark.parametrize(("row", "language"), CASES)
def test_level(row: str, language: str, figures: Figures) -> None:
    figure = figures[row, language]
    assert figure["wrong"] == []
    assert list(figure["right"]) == [str(SEEDS[row][language])]


def test_most_rows_are_held_in_both_languages() -> None:
    assert sum(set(of_row) == {"English", "Chinese"} for of_row in SEEDS.values()) >= 18
    assert {"6 video: what moved which way", "6 video: when it came, left or moved", "7 document: labels"} <= set(SEEDS)
