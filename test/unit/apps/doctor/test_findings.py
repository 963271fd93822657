"""What the doctor's report looks like, and that the documentation knows every finding."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_perception.apps.doctor import command
from vlm_perception.apps.doctor.command import main, read_graph
from vlm_perception.apps.doctor.findings import (
    Finding,
    Section,
    Severity,
    error,
    ok,
    text,
    text_lines,
    to_json,
    unseen,
    warning,
    worst,
)
from vlm_perception.apps.doctor.probe import Probe
from vlm_perception.apps.doctor.ros2_check import VlmPerceptionCheck

SECTIONS = [
    Section("Installation", (ok("Python", "3.12 at /usr/bin/python3"), warning("No GPU", "torch on CPU", "get one"))),
    Section("Model", (error("The model is not found", "a/b: nowhere", "fetch it"),)),
]


def test_text_has_a_line_for_what_is_well_and_detail_and_remedy_for_the_rest() -> None:
    assert text(SECTIONS, width=80).splitlines() == [
        "Installation",
        "  ok    Python: 3.12 at /usr/bin/python3",
        "  WARN  No GPU",
        "        torch on CPU",
        "        -> get one",
        "",
        "Model",
        "  ERROR The model is not found",
        "        a/b: nowhere",
        "        -> fetch it",
        "",
        "1 error, 1 warning in 3 checks; see docs/troubleshooting.md",
    ]


@given(st.text(), st.integers(20, 200))
def test_long_texts_are_broken_between_words_only(detail: str, width: int) -> None:
    told = text([Section("S", (warning("T", detail, "R"),))], width)
    said = told.split()
    for word in detail.split():
        assert word in said
    assert all(len(line) <= width or len(line.split()) == 1 for line in told.splitlines()[2:-3])


def test_json_holds_every_finding_and_the_worst_level() -> None:
    told = json.loads(to_json(SECTIONS))
    assert told["level"] == "ERROR"
    assert [(f["section"], f["level"], f["title"]) for f in told["findings"]] == [
        ("Installation", "OK", "Python"),
        ("Installation", "WARN", "No GPU"),
        ("Model", "ERROR", "The model is not found"),
    ]
    assert all(finding.keys() >= {"detail", "remedy"} for finding in told["findings"])


@pytest.mark.parametrize(("count", "code"), [(0, 0), (1, 1), (2, 2)])
def test_the_worst_level_is_the_exit_code(count: int, code: int) -> None:
    findings = (ok("a", "b"), warning("a", "b", "c"), error("a", "b", "c"))[: count + 1]
    assert int(worst([Section("S", findings)])) == code


def test_findings_of_the_child_process_come_back_as_they_were() -> None:
    told = {"running": True, "findings": [{"level": 1, "title": "a", "detail": "b", "remedy": "c"}]}
    assert read_graph(Probe(told)) == ([warning("a", "b", "c")], True)
    (failed,), running = read_graph(Probe(problem="it crashed with SIGSEGV"))
    assert (failed.level, failed.title, running) == (Severity.UNSEEN, "The graph cannot be looked at", False)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ((ok("a", "b"), unseen("a", "b", "c")), 3),
        ((warning("a", "b", "c"), unseen("a", "b", "c")), 3),
        ((unseen("a", "b", "c"), error("a", "b", "c"), warning("a", "b", "c")), 2),
    ],
)
def test_what_could_not_be_looked_at_has_a_code_of_its_own_unless_something_is_to_mend(
    findings: tuple[Finding, ...], code: int
) -> None:
    assert int(worst([Section("S", findings)])) == code


def test_each_finding_is_told_before_the_next_check_begins() -> None:
    done: list[str] = []

    def checks() -> Iterator[Finding]:
        for name in ("first", "second"):
            done.append(name)
            yield ok(name, "fine")

    lines = text_lines([Section("S", checks())], 80)
    assert [next(lines), next(lines)] == ["S", "  ok    first: fine"]
    assert done == ["first"]


def test_a_check_that_breaks_is_a_finding_and_the_others_follow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Iterator[Finding]:
        yield ok("Python", "fine")
        raise RuntimeError("no such luck")

    monkeypatch.setattr(command, "check_installation", broken)
    monkeypatch.setattr(command, "check_ros_setup", lambda: iter([ok("rclpy", "fine")]))
    monkeypatch.setattr(command, "check_model", lambda model, *, download: ok("Model", "fine"))
    assert main(["--no-graph"]) == 3
    told = capsys.readouterr().out
    assert told.index("ok    Python") < told.index("?     A check broke") < told.index("ok    Model")
    assert "RuntimeError: no such luck" in told


@pytest.mark.parametrize(
    ("printed", "counts"),
    [
        (to_json(SECTIONS), (1, 1)),
        (to_json([Section("S", (ok("a", "b"),))]), (0, 0)),
        (to_json([Section("S", (unseen("a", "b", "c"),))]), (0, 1)),
        ("Traceback ...", (0, 1)),
        ("", (0, 1)),
    ],
)
def test_ros2_doctor_counts_what_the_doctor_found(
    printed: str, counts: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    check = VlmPerceptionCheck((sys.executable, "-c", f"print({printed!r})"))
    result = check.check()
    assert (check.category(), result.error, result.warning) == ("vlm_perception", *counts)
    assert len(capfd.readouterr().err.splitlines()) == sum(counts)


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--grap"])
    assert ended.value.code == 2
    assert "--grap" in capsys.readouterr().err
