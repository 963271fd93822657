"""What a check found, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

_INDENT = " " * 8


class Severity(IntEnum):
    """How bad it is; the number is the exit code that the worst finding gives."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        level: How bad it is.
        title: Always the same words for the same thing.
        detail: What was seen here.
        remedy: What to do; empty when nothing has to be done.
    """

    level: Severity
    title: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Section:
    """Findings about one part, in the order in which they are best read."""

    title: str
    findings: tuple[Finding, ...]


def ok(title: str, detail: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Severity.OK, title, detail)


def warning(title: str, detail: str, remedy: str) -> Finding:
    """Return a finding that may be meant so, or costs something."""
    return Finding(Severity.WARN, title, detail, remedy)


def error(title: str, detail: str, remedy: str) -> Finding:
    """Return a finding with which the node cannot work."""
    return Finding(Severity.ERROR, title, detail, remedy)


def worst(sections: Iterable[Section]) -> Severity:
    """Return the level of the worst finding."""
    return max((finding.level for section in sections for finding in section.findings), default=Severity.OK)


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
    if worst(sections) is Severity.OK:
        return f"all is well: {len(levels)} checks"
    errors, warnings = levels.count(Severity.ERROR), levels.count(Severity.WARN)
    counts = ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for n, kind in ((errors, "error"), (warnings, "warning")))
    return f"{counts} in {len(levels)} checks; see docs/troubleshooting.md"


def to_json(sections: Sequence[Section]) -> str:
    """Return one JSON object: `level` of the worst and `findings`, each with its `section`."""
    findings = [
        {"section": section.title, **asdict(finding), "level": finding.level.name}
        for section in sections
        for finding in section.findings
    ]
    return json.dumps({"level": worst(sections).name, "findings": findings}, ensure_ascii=False, indent=2)


def _lines(finding: Finding, width: int) -> list[str]:
    mark = f"  {finding.level.name.replace('OK', 'ok'):<6}"
    if finding.level is Severity.OK:
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
