"""Findings as text for people and as JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from vlm_perception.apps.doctor.finding import Finding, Level, Section, worst

_MARKS = {Level.OK: "ok", Level.WARN: "WARN", Level.ERROR: "ERROR"}
_INDENT = " " * 8


def text(sections: Sequence[Section], width: int) -> str:
    """Return the report for a terminal.

    Args:
        sections: What was found.
        width: Columns; longer texts are broken, but no word is, so that paths and commands can be copied.
    """
    lines: list[str] = []
    for section in sections:
        lines += [section.title, *(line for finding in section.findings for line in _lines(finding, width)), ""]
    return "\n".join([*lines, summary(sections)])


def summary(sections: Sequence[Section]) -> str:
    """Return one line with the numbers of findings."""
    levels = [finding.level for section in sections for finding in section.findings]
    if worst(sections) is Level.OK:
        return f"all is well: {len(levels)} checks"
    errors, warnings = levels.count(Level.ERROR), levels.count(Level.WARN)
    found = f"{_plural(errors, 'error')}, {_plural(warnings, 'warning')}"
    return f"{found} in {len(levels)} checks; see docs/troubleshooting.md"


def to_json(sections: Sequence[Section]) -> str:
    """Return one JSON object: `level` of the worst and `findings`, each with its `section`."""
    findings = [
        {"section": section.title, **asdict(finding), "level": finding.level.name}
        for section in sections
        for finding in section.findings
    ]
    return json.dumps({"level": worst(sections).name, "findings": findings}, ensure_ascii=False, indent=2)


def _lines(finding: Finding, width: int) -> list[str]:
    mark = f"  {_MARKS[finding.level]:<6}"
    if finding.level is Level.OK:
        return _wrap(f"{finding.title}: {finding.detail}", width, mark)
    return [
        *_wrap(finding.title, width, mark),
        *_wrap(finding.detail, width, _INDENT),
        *_wrap(f"-> {finding.remedy}", width, _INDENT),
    ]


def _wrap(said: str, width: int, first: str) -> list[str]:
    return textwrap.wrap(
        " ".join(said.split()),
        width,
        initial_indent=first,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
