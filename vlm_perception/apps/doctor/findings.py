"""What a check found, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

_INDENT = " " * 8


class Severity(IntEnum):
    """How bad it is; the number is the exit code that the worst finding gives.

    What could not be looked at is worse than a warning, because anything may be wrong with it, and less than an error,
    which is certain and has a remedy.
    """

    OK = 0
    WARN = 1
    ERROR = 2
    UNSEEN = 3


_MARKS = {Severity.OK: "ok", Severity.WARN: "WARN", Severity.ERROR: "ERROR", Severity.UNSEEN: "?"}
_FROM_GOOD_TO_BAD = (Severity.OK, Severity.WARN, Severity.UNSEEN, Severity.ERROR)


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
    findings: Iterable[Finding]


def ok(title: str, detail: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Severity.OK, title, detail)


def warning(title: str, detail: str, remedy: str) -> Finding:
    """Return a finding that may be meant so, or costs something."""
    return Finding(Severity.WARN, title, detail, remedy)


def error(title: str, detail: str, remedy: str) -> Finding:
    """Return a finding with which the node cannot work."""
    return Finding(Severity.ERROR, title, detail, remedy)


def unseen(title: str, detail: str, remedy: str) -> Finding:
    """Return a finding about what could not be looked at, whether it is well or not."""
    return Finding(Severity.UNSEEN, title, detail, remedy)


def worst(sections: Iterable[Section]) -> Severity:
    """Return the level of the worst finding."""
    levels = {finding.level for section in sections for finding in section.findings}
    return max(levels, key=_FROM_GOOD_TO_BAD.index, default=Severity.OK)


def text(sections: Iterable[Section], width: int) -> str:
    """Return the report for a terminal; see `text_lines`."""
    return "\n".join(text_lines(sections, width))


def text_lines(sections: Iterable[Section], width: int) -> Generator[str, None, list[Section]]:
    """Give the lines of the report for a terminal, each as soon as what it tells is found.

    Args:
        sections: What is found; looked at line by line.
        width: Columns; longer texts are broken, but no word is, so that paths and commands can be copied.

    Returns:
        What was found.
    """
    told: list[Section] = []
    for section in sections:
        yield section.title
        findings: list[Finding] = []
        for finding in section.findings:
            findings.append(finding)
            yield from _lines(finding, width)
        told.append(Section(section.title, tuple(findings)))
        yield ""
    yield summary(told)
    return told


def summary(sections: Sequence[Section]) -> str:
    """Return one line with the numbers of findings."""
    levels = [finding.level for section in sections for finding in section.findings]
    if worst(sections) is Severity.OK:
        return f"all is well: {len(levels)} checks"
    errors, warnings = levels.count(Severity.ERROR), levels.count(Severity.WARN)
    counts = ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for n, kind in ((errors, "error"), (warnings, "warning")))
    missed = f", {count} could not be looked at" if (count := levels.count(Severity.UNSEEN)) else ""
    return f"{counts} in {len(levels)} checks{missed}; see docs/troubleshooting.md"


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
