"""The card's benchmark, in short and without a card: all of it runs, and says what only a card can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from checkout import ROOT

from benchmarks.gpu.sections import COLUMNS


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("gpu") / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--shape", "tiny", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(output.read_text())
    return report


def test_every_section_runs(found: dict[str, Any]) -> None:
    assert len(found["sections"]) == 12
    assert {name for name, section in found["sections"].items() if set(section) != {"seconds"}} == set()
    assert all(tuple(row) == COLUMNS for row in found["rows"])
    assert {"torch", "transformers"} < set(found["versions"])


@pytest.mark.parametrize(
    ("what", "methods"),
    [
        ("pass behind 100", {"ours, eager"}),
        ("pass behind 300", {"ours, eager", "transformers, eager"}),
        ("prefill of 112x112, 16 tokens", {"ours"}),
        ("tower of 112x112, 16 tokens", {"ours", "transformers"}),
        (
            "answer, 2 objects, slow",
            {"ours, eager", "generate", "generate, static cache, not compiled", "generate, prompt lookup"},
        ),
    ],
)
def test_times_are_told_for(found: dict[str, Any], what: str, methods: set[str]) -> None:
    assert {row["method"] for row in found["rows"] if row["what"] == what and row["ms"]} == methods


def test_our_own_ways_agree_to_the_last_bit(found: dict[str, Any]) -> None:
    told = {
        (row["model"], row["what"], row["method"]): row["identical"]
        for row in found["rows"]
        if row["identical"] is not None and row["method"] != "generate"
    }
    assert len(told) > 10
    different = {row: same for row, same in told.items() if same is not True and len(set(str(same).split(" of "))) != 1}
    assert different == {}


def test_what_needs_a_card_is_said(found: dict[str, Any]) -> None:
    graphs = [row for row in found["rows"] if row["method"].startswith("ours, graph")]
    assert len(graphs) >= 6
    assert {row["note"] for row in graphs} == {"skipped: needs CUDA"}
