"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def figure_text(value: float | None) -> str:
    """A number with three decimals, a count as it is, and a dash for what there is none of."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
