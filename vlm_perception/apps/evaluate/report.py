"""The tables of `vlm-perception-evaluate`."""

from __future__ import annotations

from collections.abc import Mapping

from vlm_perception.apps.evaluate.measures import Figures
from vlm_perception.apps.tables import figure_text, table


def overall_table(figures: Figures) -> str:
    """One row a figure; those that nothing was asked about are left out."""
    rows = [[name, figure_text(value)] for name, value in figures.items() if value is not None]
    return table(["figure", "reached"], rows)


def label_table(labels: Mapping[str, Figures]) -> str:
    """One row a label, one column a figure; a dash where a label has none."""
    columns = list(next(iter(labels.values()), {}))
    return table(
        ["label", *columns], [[label, *(figure_text(row[name]) for name in columns)] for label, row in labels.items()]
    )
