"""What every benchmark does with its figures: a Markdown table on the screen, JSON in build/benchmarks/."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path("build/benchmarks")


def silence_libraries() -> None:
    """Turn off warnings, log lines and progress bars of the model's libraries; errors come as exceptions anyway."""
    import transformers.utils.logging

    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of the same keys; None is written as a dash."""
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join("-" if row[column] is None else str(row[column]) for column in columns) + " |")


def write_json(name: str, figures: Any, output: Path | None = None) -> None:
    """Write figures to build/benchmarks/NAME.json, or elsewhere."""
    path = output or FOLDER / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
