"""The long benchmarks, in short: they run on the real node and find what they are to measure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from checkout import ROOT


def test_the_cost_of_tracking_is_that_of_the_node_whose_tracks_are_heard(tmp_path: Path) -> None:
    output = tmp_path / "tracking_cpu.json"
    command = [sys.executable, "-m", "benchmarks.tracking_cpu", "--seconds", "2", "--delay-s", "0.2"]
    command += ["--only", "camera_rate, depth", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert output.exists(), done.stdout + done.stderr
    (row,) = json.loads(output.read_text())["rows"]
    assert row["cpu_percent"] > 0
    assert row["objects"] > 0
    assert 0 < row["share"] < 1.5
    assert 0 < row["delay_p50_ms"] <= row["delay_p95_ms"]


def test_the_soak_runs_the_node_and_reports_what_it_holds(tmp_path: Path) -> None:
    output = tmp_path / "soak.json"
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.1", "--prompt-s", "1", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert output.exists(), done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["answers"] > 1
    assert min(found["heard"].get(topic, 0) for topic in ("tracks", "detections_3d")) > 1
    assert found["rss_mb"]["max"] > 100
    assert found["threads"]["max"] >= 2
    assert found["files"]["max"] > 3
