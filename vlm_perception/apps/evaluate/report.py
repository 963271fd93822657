"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlm_perception.apps.evaluate.measures import Figures


def overall_table(figures: Figures) -> str:
    """One row a figure; those that nothing was asked about are left out."""
    return table(["figure", "reached"], [[name, _text(value)] for name, value in figures.items() if value is not None])


def label_table(labels: Mapping[str, Figures]) -> str:
    """One row a label, one column a figure; a dash where a label has none."""
    columns = list(next(iter(labels.values()), {}))
    return table(
        ["label", *columns], [[label, *(_text(row[name]) for name in columns)] for label, row in labels.items()]
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
