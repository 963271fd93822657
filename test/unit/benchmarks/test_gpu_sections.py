"""One section of the card's benchmark spoils neither the others nor what was measured before it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

from benchmarks.gpu.sections import Deadline, Measurement, Report, run_all


def measure(report: Report, deadline: Deadline) -> None:
    report.add("m", "good", "x", ms=1.0)


def fail(report: Report, deadline: Deadline) -> None:
    report.add("m", "begun", "x", ms=2.0)
    raise ValueError("a kernel has failed")


def finish(report: Report) -> None:
    report.add("m", "finished", "x")
    report.write()


def run(path: Path, sections: list[Measurement], total_s: float = 60.0) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        run_all(sections, Report(path, {"device": "none"}), total_s, finish)
    return int(ended.value.code or 0), json.loads(path.read_text())


@pytest.mark.parametrize(
    ("sections", "code", "rows", "told"),
    [
        ([Measurement("a", 1, measure)], 0, ["good", "finished"], {"a": set()}),
        (
            [Measurement("a", 1, fail), Measurement("b", 1, measure)],
            1,
            ["begun", "good", "finished"],
            {"a": {"error"}, "b": set()},
        ),
        (
            [Measurement("a", 1000, measure), Measurement("b", 1, measure)],
            0,
            ["good", "finished"],
            {"a": {"skipped"}, "b": set()},
        ),
    ],
    ids=["good", "failing", "too long"],
)
def test_each_section_is_told_of(
    tmp_path: Path, sections: list[Measurement], code: int, rows: list[str], told: dict[str, set[str]]
) -> None:
    ended, found = run(tmp_path / "gpu.json", sections)
    assert ended == code
    assert [row["what"] for row in found["rows"]] == rows
    assert {name: set(section) - {"seconds"} for name, section in found["sections"].items()} == told


def test_the_whole_time_ends_a_section_in_its_middle(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    program = f"""
import threading
from pathlib import Path
from benchmarks.gpu.sections import Report, Measurement, run_all

def hang(report, deadline):
    report.add("m", "begun", "x")
    threading.Event().wait()

run_all([Measurement("a", 0, hang)], Report(Path({str(path)!r}), {{}}), 0.2, lambda report: report.write())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert [row["what"] for row in found["rows"]] == ["begun"]
    assert "cut off" in found["sections"]["a"]["skipped"]
