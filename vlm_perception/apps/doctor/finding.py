"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
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

    level: Level
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
    return Finding(Level.OK, title, detail)


def warning(title: str, detail: str, remedy: str) -> Finding:
    """Return a finding that may be meant so, or costs something."""
    return Finding(Level.WARN, title, detail, remedy)


def error(title: str, detail: str, remedy: str) -> Finding:
    """Return a finding with which the node cannot work."""
    return Finding(Level.ERROR, title, detail, remedy)


def worst(sections: Iterable[Section]) -> Level:
    """Return the level of the worst finding."""
    return max((finding.level for section in sections for finding in section.findings), default=Level.OK)
